"""LP504: a metric whose mean over batches is not its value on the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.state.epochs import Averaged


class BatchAveragedMetric(Rule):
    """R2, F1, correlation and the like, written as a function of one batch."""

    code = "LP504"
    name = "batch-averaged-metric"
    severity = "warning"
    summary = "is judged by a metric whose mean over batches is not the epoch's value"
    explanation = """
Keras evaluates a metric function on each batch and reports the mean. For a mean of errors that is the value on the whole
data. For a quotient (R2, F1, precision, correlation) it is another number: batches with few positives, or with nearly
constant targets, count as much as all others, and the result changes with the batch size and the order of the rows.

**Proof.** The metric is evaluated on the script's own batches of equal size, and on all of their rows at once. The
difference is reported where it is larger than three standard errors of the value (jackknife over 16 random groups of
rows), so that it changes what the number says; a root of a mean on ordinary batches stays below. Where rare large rows
make the value itself uncertain, it is reported where it is half of the number and larger than three standard errors of
the difference on the same rows (jackknife over groups of batches). The metric must have a
value for the data: the mean over four random quarters lies within two standard errors of it (or within half of it, where
batches of the same size in a random order are near it, so that the order of the rows makes the difference). A sum would be
four times smaller, and a metric that compares the rows of a batch with one another on purpose (which of these 32 is the
match?) larger: they have none and are left alone. So is a value that is zero to three standard errors where the size of
the batches makes the difference, as the share of such matches is before the training.

**What to do.** Use a metric that keeps counts or sums over the epoch (`keras.metrics.R2Score`, `F1Score`, `Precision`,
or a `keras.metrics.Metric` of your own), or compute it from `model.predict` after the epoch.
"""
    source = (
        "keras/src/metrics/reduction_metrics.py, MeanMetricWrapper",
        "https://github.com/keras-team/keras/issues/10990",
        "B. Efron and C. Stein, The jackknife estimate of variance, Annals of Statistics 9 (1981)",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = np.sort(rng.normal(size=(512, 2)), axis=0).astype("float32")
y = x[:, :1] * 3.0 + 1.0


def r2(y_true, y_pred):  # expect: LP504
    residual = ops.sum(ops.square(y_true - y_pred))
    spread = ops.sum(ops.square(y_true - ops.mean(y_true)))
    return 1.0 - residual / (spread + keras.config.epsilon())


model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse", metrics=[r2])
model.fit(x, y, validation_split=0.5, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = np.sort(rng.normal(size=(512, 2)), axis=0).astype("float32")
y = x[:, :1] * 3.0 + 1.0


def share_within_one(y_true, y_pred):
    return ops.mean(ops.cast(ops.abs(y_true - y_pred) < 1.0, "float32"))


model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse", metrics=[share_within_one, keras.metrics.R2Score()])
model.fit(x, y, validation_split=0.5, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.state.epochs import averaged_metrics

        if lab.capture.model is None or lab.capture.error is not None:
            raise NotApplicable("no metric was reported")
        for one in lab.once(averaged_metrics):
            if one.misleads:
                yield self._finding(lab, one)

    def _finding(self, lab: Lab, one: Averaged) -> Finding:
        name = one.subject.name
        made = (
            " Measured on predictions as a trained model might make them: the targets, with one row in five exchanged."
            if one.made_up
            else ""
        )
        prefix = "val_" if one.data == "validation" else ""
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            title=f"{prefix}{name} is a mean over batches, not {name} of the data",
            where=lab.place(one.subject),
            explanation=(
                f"Keras evaluates {name} on each batch of {one.batch_size} and reports the mean: {one.by_batches:.4g} on "
                f"{one.rows} rows of the {one.data} data, where {name} of the same rows is {one.at_once:.4g}, give or take "
                f"{one.error:.2g}. The number changes with the batch size and with the order of the rows.{made}"
            ),
            evidence={
                "mean over batches": one.by_batches,
                "on all rows": one.at_once,
                "standard error": one.error,
                "rows": one.rows,
                "batch size": one.batch_size,
                "lowest batch": min(one.values),
                "highest batch": max(one.values),
                "predictions": "made of the targets" if one.made_up else "of the model",
            },
            counterfactual=Counterfactual(
                change="the same rows in a single batch",
                before=one.by_batches,
                after=one.at_once,
                label=f"{name} of {one.rows} rows",
                columns=(f"batches of {one.batch_size}", "at once"),
                rows=(
                    Row("lowest and highest batch", min(one.values), max(one.values)),
                    Row("in four random quarters", None, one.of_quarters, "the value does not hang on their number"),
                ),
            ),
            fix=Fix(
                "Use a metric with a state (keras.metrics.R2Score, F1Score, Precision, ... or a keras.metrics.Metric of "
                "your own that adds up what it needs), or compute it from model.predict after the epoch."
            ),
        )
