"""LP104: a loss that reduces over the batch axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.shape.wrong_axis import WrongAxis


class WrongAxisReduced(Rule):
    """One value per feature where one per sample was meant."""

    code = "LP104"
    name = "wrong-axis"
    severity = "error, note where the mean is the same"
    summary = "reduces over the batch axis: one value per feature, not per sample"
    explanation = """
Keras expects one value per sample, and takes their mean. A loss that reduces over axis 0 returns one value per feature
instead. Keras cannot tell and takes the mean of those. A root, a logarithm or a maximum is then formed over the whole
batch and not for each sample, and a sum grows with the batch. Nothing raises until sample weights or class weights are
given: they have the length of the batch, and the loss has not.

**Proof.** The function returns the same shape for a batch of half the size. With the batch axis and the feature axis of
targets and predictions exchanged it returns one value per sample, and the mean of those is another number. Rows that
are predicted perfectly add nothing, so that the values are errors of the rows taken together, and not, say, one F1 score
per class.

**What to do.** Reduce over the last axes: `axis=-1` in the place of `axis=0`.
"""
    source = (
        "keras/src/losses/loss.py, reduce_weighted_values",
        "https://github.com/keras-team/keras/issues/10408",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 3)).astype("float32")
y = x @ rng.normal(size=(3, 2)).astype("float32")


def distance(y_true, y_pred):
    return ops.sqrt(ops.sum(ops.square(y_true - y_pred), axis=0))  # expect: LP104


model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
model.compile(optimizer="sgd", loss=distance)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 3)).astype("float32")
y = x @ rng.normal(size=(3, 2)).astype("float32")


def distance(y_true, y_pred):
    return ops.sqrt(ops.sum(ops.square(y_true - y_pred), axis=-1) + 1e-12)


model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
model.compile(optimizer="sgd", loss=distance)
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.shape.wrong_axis import losses_with_values, wrong_axis

        subjects = lab.once(losses_with_values)
        if not subjects:
            raise NotApplicable("no loss returns a value to Keras")
        for subject in subjects:
            found = lab.once(wrong_axis, subject)
            if found is not None:
                yield self._finding(lab, found)

    def _finding(self, lab: Lab, found: WrongAxis) -> Finding:
        from lossproof.lab.shape.alignment import place_of_reduction

        subject, size = found.subject, found.subject.batch_size
        failed = lab.capture.error is not None
        harmless = not failed and not differs(found.before, found.after, terms=size)
        explanation = (
            f"{subject.name} returns shape {found.returned} for {size} samples: it reduces over axis 0, the batch, and "
            f"keeps axis {found.axis}. "
        )
        if failed:
            explanation += (
                f"The weights have one value per sample and cannot be applied: {type(lab.capture.error).__name__}."
            )
        elif harmless:
            explanation += "The mean is the same either way; sample weights or class weights could not be applied."
        elif found.weighted:
            explanation += (
                "Keras multiplies its single value with the weight of every sample, so that only the mean of the weights "
                "acts: which sample has which makes no difference. Nothing raises."
            )
        else:
            explanation += (
                "Keras takes the mean of these as if they were samples, so the value is not the mean over samples, and it "
                "changes with the batch size. Nothing raises."
            )
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.NOTE if harmless else Severity.ERROR,
            title="the loss has one value per feature, not per sample: it is reduced over the batch",
            where=lab.once(place_of_reduction, subject),
            measured=f"1 batch of {size}",
            explanation=explanation,
            evidence={
                "subject": subject.name,
                "batch": size,
                "returned": list(found.returned),
                "axes_exchanged": list(found.meant),
                **({"explains_error": True} if failed else {}),
            },
            counterfactual=Counterfactual(
                change=f"the batch axis and axis {found.axis} exchanged",
                before=found.before,
                after=found.after,
                label="weighted loss" if found.weighted else "loss on this batch",
                columns=("as written", "one per sample"),
                rows=(
                    Row("what the function returns", str(found.returned), str(found.meant)),
                    *(() if found.weighted else (Row("the same rows twice in the batch", found.twice, found.after),)),
                ),
            ),
            fix=Fix("Reduce over the last axes, not over axis 0: `axis=-1` gives one value per sample."),
        )
