"""LP406: a loss for logits gets probabilities, or a loss for probabilities gets logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.reading import Misread


class LogitsMismatch(Rule):
    """The last activation and the loss disagree on what a prediction is."""

    code = "LP406"
    name = "logits-mismatch"
    severity = "error"
    summary = "takes probabilities for logits, or the reverse"
    explanation = """
A cross-entropy wants either probabilities or logits, the numbers before the softmax or sigmoid, and cannot see which it
gets. A loss for logits squashes its predictions itself. If they are probabilities already, the squashed ones stay
between 0.5 and 0.73: the surest right answer keeps most of its loss, a sure "no" costs as much as an undecided one, and
the best that training can do may be to say "no" to all. A loss for probabilities cuts off what lies outside of 0 and 1;
of logits that is about half, and where it cuts there is no gradient. Neither raises. Keras repairs the first on
TensorFlow, where the operation that made the prediction is a plain softmax or sigmoid, and not on JAX or PyTorch.

**Proof.** *Probabilities taken for logits:* the outputs end exactly at 0 and 1, and the loss goes on falling beyond, at
the exponential rate of a softmax or sigmoid of its own; the sure and right prediction is evaluated as it is, and as the
logit that stands for it. *Logits taken for probabilities:* the loss is logarithmic in the probability of the right
answer, the outputs lie outside of 0 and 1, and those get no gradient at all.

**What to do.** Give `from_logits=True` to the loss or a softmax or sigmoid to the model, not both and not neither.
Metrics have a threshold: 0.5 for probabilities, 0 for logits.
"""
    source = (
        "keras/src/backend/tensorflow/nn.py, _get_logits; backend/jax/nn.py and backend/torch/nn.py, binary_crossentropy",
        "https://github.com/keras-team/keras/issues/12605",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3)).astype("float32")
y = (x[:, :1] > 0.5).astype("float32")


def weighted_crossentropy(y_true, y_pred):
    positive = 3.0 * y_true * ops.softplus(-y_pred)
    return ops.mean(positive + (1.0 - y_true) * ops.softplus(y_pred), axis=-1)  # expect: LP406


model = keras.Sequential([keras.Input((3,)), layers.Dense(8, activation="tanh"), layers.Dense(1, activation="sigmoid")])
model.compile(optimizer="sgd", loss=weighted_crossentropy)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3)).astype("float32")
y = (x[:, :1] > 0.5).astype("float32")


def weighted_crossentropy(y_true, y_pred):
    positive = 3.0 * y_true * ops.softplus(-y_pred)
    return ops.mean(positive + (1.0 - y_true) * ops.softplus(y_pred), axis=-1)


model = keras.Sequential([keras.Input((3,)), layers.Dense(8, activation="tanh"), layers.Dense(1)])
model.compile(optimizer="sgd", loss=weighted_crossentropy)
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.wiring.reading import misread

        if not lab.losses and lab.objective is None:
            raise NotApplicable("no loss receives predictions")
        for one in misread(lab):
            yield self._for_logits(lab, one) if one.taken_for == "logits" else self._for_probabilities(lab, one)

    def _for_logits(self, lab: Lab, one: Misread) -> Finding:
        from lossproof.lab.places import place_of_use

        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="probabilities are taken for logits",
            where=lab.once(place_of_use, one.subject),
            measured=_measured(one),
            explanation=(
                f"The predictions are probabilities, which end at 0 and 1, and {one.subject.name} takes them for logits: "
                f"it applies a {one.kind} of its own. So the surest right answers still cost {one.sure:.4g}, where "
                f"undecided ones cost {one.undecided:.4g}, and training is drawn to whatever costs least between 0 and "
                "1. Nothing raises."
            ),
            evidence={"taken for": "logits", "sure and right": one.sure, "undecided": one.undecided},
            counterfactual=Counterfactual(
                change="hand the logits of the predictions to the loss",
                before=one.sure,
                after=one.sure_after,
                label="sure and right predictions",
                columns=("as written", "as logits"),
                rows=(Row("loss on this batch", one.before, one.after),),
            ),
            fix=Fix(
                f"Leave the {one.kind} out of the model's last layer and put the thresholds of metrics at 0; or use the "
                "form of this loss that takes probabilities.",
                where=lab.once(place_of_use, one.subject),
            ),
        )

    def _for_probabilities(self, lab: Lab, one: Misread) -> Finding:
        from lossproof.lab.places import place_of_use

        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="logits are taken for probabilities",
            where=lab.once(place_of_use, one.subject),
            measured=_measured(one),
            explanation=(
                f"{one.subject.name} takes the predictions for probabilities and cuts them off at 0 and 1. The model's "
                f"last layer has no such bounds: {one.dark} of {one.count} {one.of} lie outside on this batch and get no "
                "gradient, so nothing draws them back. Nothing raises."
            ),
            evidence={"taken for": "probabilities", "without gradient": one.dark, one.of: one.count},
            counterfactual=Counterfactual(
                change=f"a {one.kind} over the predictions",
                before=one.dark,
                after=0,
                label=f"{one.of} without a gradient",
                columns=("as written", one.kind),
                rows=(
                    Row("loss on this batch", one.before, one.after),
                    Row("sure and right predictions", one.sure, one.sure_after),
                ),
            ),
            fix=Fix(
                f"End the model in a {one.kind}; or let the loss take logits (from_logits=True, where it has that).",
                where=lab.once(place_of_use, one.subject),
            ),
        )


def _measured(one: Misread) -> str:
    return f"1 batch of {one.subject.batch_size}"
