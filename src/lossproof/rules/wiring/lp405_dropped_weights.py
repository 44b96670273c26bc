"""LP405: a custom step, `compute_loss` or `Loss.__call__` gets weights and does not use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Place, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.weights_lost import Lost


class DroppedWeights(Rule):
    """Weights that the user passed and that nothing reads."""

    code = "LP405"
    name = "dropped-weights"
    severity = "error"
    summary = "loses sample_weight, class_weight or loss_weights in a custom step or loss"
    explanation = """
`fit` turns `class_weight` into one weight per sample, and hands it with `sample_weight` to the step as the third element
of `data`, and to `compute_loss` as `sample_weight`. Keras's own step applies it. A step of the user's that unpacks it and
leaves it, or a `compute_loss` that calls a loss without it, trains as if no weights had been given. `loss_weights` are
applied by `Model.compute_loss` alone: a step that adds up losses itself does not see them. A subclass of `Loss` whose
`__call__` puts weights of its own in the place of those that it is given loses them as well. Nothing raises.

**Proof.** The step is run with other weights: nought, three times as large, a different one for each sample. Neither the
loss that it differentiates nor any gradient that it applies moves, where the weighted losses of the samples do.

**What to do.** Pass the weights on: `loss_fn(y, y_pred, sample_weight=sample_weight)`, or call `self.compute_loss`.
"""
    source = (
        "keras/src/trainers/data_adapters/data_adapter_utils.py, class_weight_to_sample_weights",
        "https://github.com/tensorflow/tensorflow/issues/43902",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = (rng.random(64) < 0.2).astype("int32")


class Grader(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(2, activation="softmax")
        self.loss_fn = keras.losses.SparseCategoricalCrossentropy()

    def call(self, inputs):
        return self.head(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # expect: LP405
        return self.loss_fn(y, y_pred)


model = Grader()
model.compile(optimizer="sgd")
model.fit(x, y, class_weight={0: 1.0, 1: 12.0}, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = (rng.random(64) < 0.2).astype("int32")


class Grader(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(2, activation="softmax")
        self.loss_fn = keras.losses.SparseCategoricalCrossentropy()

    def call(self, inputs):
        return self.head(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.loss_fn(y, y_pred, sample_weight=sample_weight)


model = Grader()
model.compile(optimizer="sgd")
model.fit(x, y, class_weight={0: 1.0, 1: 12.0}, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.wiring.weights_lost import lost_loss_weights, lost_sample_weights, own_call

        own = lab.overrides_compute_loss or lab.overrides_train_step
        method = "train_step" if lab.overrides_train_step else "compute_loss"
        taking = (method, lab.place_of_method(method)) if own else own_call(lab)
        if taking is None:
            raise NotApplicable("Keras's own step and losses apply the weights")
        if not lab.capture.training:
            raise NotApplicable("the model is evaluated, not trained")
        lost = lab.once(lost_sample_weights) if lab.batch.sample_weight is not None else None
        if lost is not None:
            word = "class_weight" if lab.capture.data.get("class_weight") is not None else "sample_weight"
            yield self._finding(word, lost, *taking)
        lost = lab.once(lost_loss_weights) if own else None
        if lost is not None:
            yield self._finding("loss_weights", lost, *taking)

    def _finding(self, word: str, lost: Lost, method: str, where: Place | None) -> Finding:
        of_losses = word == "loss_weights"
        how = {
            "class_weight": "Keras made one weight per sample of class_weight",
            "sample_weight": "A weight was passed for every sample",
            "loss_weights": "compile was given loss_weights",
        }[word]
        span = f"{lost.low:.4g}" if lost.low == lost.high else f"{lost.low:.4g} to {lost.high:.4g}"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"{word} {'have' if of_losses else 'has'} no effect",
            where=where,
            explanation=(
                f"{how} ({span}), and this {method} does not use {'them' if of_losses else 'it'}: with other weights, "
                "neither its loss nor its gradients change. Training is the same as without. Nothing raises."
            ),
            evidence={"weights": word, "lowest": lost.low, "highest": lost.high, "method": method},
            counterfactual=Counterfactual(
                change="weight each loss of compile" if of_losses else "weight each sample's own loss",
                before=lost.total,
                after=lost.meant,
                columns=("as written", "weighted"),
                rows=(Row("with other weights", lost.changed, lost.meant_changed, "the weights are not used"),),
            ),
            fix=Fix(
                "Call super().compute_loss(...) (in a train_step: self.compute_loss), which applies them; or read the "
                "weights from the model, not from compile."
                if of_losses
                else "Pass the weights on to the loss"
                + (": they are the third element of data." if method == "train_step" else "."),
                where=where,
                code=None if of_losses else "loss_fn(y, y_pred, sample_weight=sample_weight)",
            ),
        )
