"""LP206: trainable weights that no term of the objective trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Place, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.gradient.dead_weights import Dead
    from lossproof.lab.lab import Lab


class DeadWeights(Rule):
    """Weights that the optimizer is told to train, and that never move."""

    code = "LP206"
    name = "dead-weights"
    severity = "warning"
    summary = "sends no gradient to some trainable weights"
    explanation = """
`stop_gradient` in the wrong line (on the critic's value itself, instead of on the advantage that the actor uses), an
`argmax` or `round` in the middle of a model, or a layer whose result is overwritten: some trainable weights then get no
gradient from any term and keep the values with which they started. TensorFlow and PyTorch print a warning that is easily
overlooked ("Gradients do not exist for variables"), JAX says nothing. The rest of the model trains, so the loss moves.

**Proof.** The gradient for these weights is missing or exactly zero, on the captured weights and on others drawn at
random; yet the objective changes when only they are moved. Where the gradient is stopped, lifting that one stop brings
it back. Of a layer whose result is not used: neither the objective nor any output changes. In a functional model the
layer of yours is named that receives the result and gives the same without it, on rows from all over the data. Where the
influence of whole layers cancels (a ratio of their outputs to themselves): predictions move with them, the objective does
not, at several weights, and their gradient is another one at weights that are nearly the same, which is rounding.

Left alone are weights that something else sets or trains: frozen layers, a copy that follows slowly, a pretrained part, the
other phase of an alternating training; outputs without a loss; and weights that a step of your own does not update.

**What to do.** Stop the gradient only where one term must not reach through, let another term train those weights, or say
`layer.trainable = False`.
"""
    source = (
        "https://github.com/qqwweee/keras-yolo3/issues/770",
        "keras/src/optimizers/base_optimizer.py, _filter_empty_gradients",
        "https://github.com/tensorflow/tensorflow/issues/48547",
    )
    yields_to = ("LP202", "LP307", "LP402", "LP412")
    guilty = """
import warnings

import keras
import numpy as np
from keras import layers, ops

warnings.filterwarnings("ignore")
rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = x.sum(axis=1, keepdims=True)


class TwoViews(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(8, activation="tanh")
        self.second = layers.Dense(8, activation="tanh")
        self.head = layers.Dense(1)

    def call(self, inputs):
        seen = ops.stop_gradient(self.second(inputs))  # expect: LP206
        return self.head(ops.concatenate([self.first(inputs), seen], axis=-1))


model = TwoViews()
model.compile(optimizer="sgd", loss="mse")
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = x.sum(axis=1, keepdims=True)


class TwoViews(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(8, activation="tanh")
        self.second = layers.Dense(8, activation="tanh")
        self.decoder = layers.Dense(4)
        self.head = layers.Dense(1)

    def call(self, inputs):
        code = self.second(inputs)
        self.add_loss(ops.mean(ops.square(self.decoder(code) - inputs)))  # this alone trains `second`
        seen = ops.stop_gradient(code)
        return self.head(ops.concatenate([self.first(inputs), seen], axis=-1))


model = TwoViews()
model.compile(optimizer="sgd", loss="mse")
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.gradient.dead_weights import dead_weights

        if not lab.capture.training:
            raise NotApplicable("nothing is trained by this call")
        if lab.capture.model is None or not lab.model.trainable:
            raise NotApplicable("there are no trainable weights")
        found = lab.once(dead_weights)
        if found is not None:
            yield self._finding(lab, found)

    def _finding(self, lab: Lab, found: Dead) -> Finding:
        names = ", ".join(found.paths[:3]) + (f" and {len(found.paths) - 3} more" if len(found.paths) > 3 else "")
        rows = [Row(f"gradient for {names}", 0.0, found.lifted, "norm")] if found.lifted is not None else []
        if found.way == "cancelled":
            change = "these weights moved at random: the predictions follow, the objective does not"
        elif found.way != "cut":
            change = "these weights replaced by others: nothing follows"
        elif found.lifted is not None:
            change = "these weights moved at random; the gradient not stopped"
        else:
            change = "these weights moved at random"
        gradient = "only noise for a gradient" if found.way == "cancelled" else "no gradient"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            title=f"{len(found.paths)} of {found.trainable} trainable weights get {gradient}: {names}",
            where=self._place(lab, found),
            measured=f"1 batch, {found.points} points",
            explanation=" ".join(self._sentences(found)),
            evidence={
                "weights": list(found.paths),
                "numbers": found.numbers,
                "trainable": found.trainable,
                "way": found.way,
                "points": found.points,
                "gradient_if_not_stopped": found.lifted,
            },
            counterfactual=Counterfactual(
                change=change,
                before=found.before,
                after=found.after,
                columns=("as captured", "changed"),
                rows=tuple(rows),
            ),
            fix=Fix(self._remedy(found)),
        )

    def _place(self, lab: Lab, found: Dead) -> Place | None:
        known = found.stop or found.calls
        if known is not None:
            return known
        if lab.overrides_train_step or lab.overrides_compute_loss:
            return lab.place_of_method("train_step" if lab.overrides_train_step else "compute_loss")
        return lab.capture.where

    def _sentences(self, found: Dead) -> Iterator[str]:
        if found.way == "unused":
            yield (
                "Their layer is called, but nothing is made of its result: with other values for them neither the "
                f"objective ({found.before:.4g}) nor any output of the model changes."
            )
        elif found.way == "swallowed":
            yield (
                f"{found.end} receives what they make, and gives the same without it: with other values for them neither "
                f"the objective ({found.before:.4g}) nor any output of the model changes, on rows from all over the data."
            )
        elif found.way == "cancelled":
            yield (
                "The predictions follow them, the objective does not: with other values for them it stays "
                f"{found.before:.4g}, here and at {found.points - 1} random weights. What they make stands in it twice and "
                "cancels, as in a ratio to itself; their gradient is the noise of rounding."
            )
        else:
            yield (
                f"The objective depends on them: moved at random, they take it from {found.before:.4g} to "
                f"{found.after:.4g}. But on the captured weights and {found.points - 1} random ones their gradient is "
                "missing or exactly zero."
            )
        if found.lifted is not None:
            yield f"It is stopped here; let through, its norm is {found.lifted:.3g}, so no other term trains them."
        if found.way == "cancelled":
            yield "An optimizer that scales its steps, such as Adam, moves them at random; the rest of the model trains."
        else:
            yield "They keep the values with which they started, while the rest of the model trains."

    def _remedy(self, found: Dead) -> str:
        if found.way == "swallowed":
            return f"Use each of its inputs in {found.end} (is one index used for all of them?), or do not pass it in."
        if found.way == "cancelled":
            return (
                "Take one of the two from the data or from before the update (PPO's old probabilities are those recorded "
                "when acting), or stop its gradient."
            )
        if found.way == "unused":
            return "Use the layer's result (was a variable overwritten?), or take the layer out."
        if found.lifted is not None:
            return (
                "Stop the gradient only in the term that must not reach these weights, and compute the term that should "
                "train them from the value itself; if they are to stay as they are, set trainable = False."
            )
        return (
            "Let a term reach them: replace what has no derivative (argmax, round, NumPy) between them and the loss; if "
            "they are to stay as they are, set trainable = False."
        )
