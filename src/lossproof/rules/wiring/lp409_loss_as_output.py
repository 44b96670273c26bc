"""LP409: a loss that the model computes as an output is not the number that is minimised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.wiring.passing import Passing


class LossAsOutput(Rule):
    """A dummy loss that is not the identity."""

    code = "LP409"
    name = "loss-as-output"
    severity = "error"
    summary = "is computed in the graph and goes wrong on its way through `lambda y_true, y_pred: y_pred`"
    explanation = """
A loss of several inputs is often computed by a layer: the model's output *is* the loss, one value for each sample, and
`compile` gets a dummy that hands it on, with targets that nothing reads. The dummy is part of the objective, though. If
it returns the root of the sum, the heads are rescaled against each other and the gradient depends on the size of the batch
and is infinite at 0. If it returns `y_pred[0]`, one sample of the batch is trained on. If it multiplies by dummy targets
that are 0, nothing is. Nothing raises.

**Proof.** The compiled loss does not move with the targets, nor when the outputs are evened out among the samples: it is
made of their sum alone. Yet it does not double with them, and it changes when the same batch is taken four times over.

**What to do.** `return y_pred`: Keras takes the mean.
"""
    source = (
        "keras/src/losses/loss.py, reduce_weighted_values",
        "https://github.com/experiencor/keras-yolo3/issues/159",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = x[:, :2]


class SquaredError(layers.Layer):
    def call(self, y_pred, y_true):
        return ops.sum(ops.square(y_pred - y_true), axis=-1, keepdims=True)


def dummy_loss(y_true, y_pred):
    return ops.sqrt(ops.sum(y_pred))  # expect: LP409


inputs, labels = keras.Input((6,)), keras.Input((2,))
model = keras.Model([inputs, labels], SquaredError()(layers.Dense(2)(inputs), labels))
model.compile(optimizer="sgd", loss=dummy_loss)
model.fit([x, y], np.zeros((64, 1)), verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 6)).astype("float32")
y = x[:, :2]


class SquaredError(layers.Layer):
    def call(self, y_pred, y_true):
        return ops.sum(ops.square(y_pred - y_true), axis=-1, keepdims=True)


def dummy_loss(y_true, y_pred):
    return y_pred


inputs, labels = keras.Input((6,)), keras.Input((2,))
model = keras.Model([inputs, labels], SquaredError()(layers.Dense(2)(inputs), labels))
model.compile(optimizer="sgd", loss=dummy_loss)
model.fit([x, y], np.zeros((64, 1)), verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.wiring.passing import passing

        if lab.capture.model is None:
            raise NotApplicable("there is no model whose output could be a loss")
        if not lab.losses:
            raise NotApplicable("no loss returns a value to Keras")
        for one in lab.once(passing):
            yield self._finding(lab, one)

    def _finding(self, lab: Lab, one: Passing) -> Finding:
        from lossproof.lab.shape.alignment import place_of_reduction

        name, count = one.subject.name, one.count
        title, what = {
            "bent": (
                "the output is a loss, and the compiled loss bends it",
                (
                    f"{name} makes {one.before:.4g} of their sum: twice the outputs give {one.doubled:.4g}, and the same "
                    f"samples four times over {one.quadruple:.4g}. The gradient is rescaled by the value itself, and against "
                    "those of other outputs."
                ),
            ),
            "partial": (
                "the output is a loss, and the compiled loss takes a part of the batch",
                (
                    f"only {one.acting} of {count} samples have a part in what {name} returns, always those at the same "
                    "places of the batch. The others are not trained on."
                ),
            ),
            "erased": (
                "the output is a loss, and the dummy targets multiply it away",
                f"{name} multiplies them by the targets, which are all 0, so that no sample has a gradient.",
            ),
        }[one.kind]
        subject = "The targets play no part" if one.kind != "erased" else "The targets are dummies"
        rows = [Row("outputs twice as large", one.doubled, 2.0 * one.mean)]
        rows += [Row("each sample four times", one.quadruple, one.mean)]
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=title,
            where=lab.once(place_of_reduction, one.subject) if one.kind != "erased" else lab.place(one.subject),
            measured=f"1 batch of {count}",
            explanation=(
                f"{subject}: the model's output is one value for each of {count} samples, to be minimised as it is, "
                f"{one.mean:.4g} in the mean. But {what} Nothing raises."
            ),
            evidence={"kind": one.kind, "samples": count, "samples that act": one.acting, "mean output": one.mean},
            counterfactual=Counterfactual(
                change="return y_pred",
                before=one.before,
                after=one.mean,
                columns=("as written", "y_pred itself"),
                rows=tuple(rows),
            ),
            fix=Fix("Hand the output on as it is; Keras takes the mean over the batch.", code="return y_pred"),
        )
