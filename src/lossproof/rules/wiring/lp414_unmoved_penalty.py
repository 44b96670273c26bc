"""LP414: a regularizer compares a weight with itself, because it kept the variable where it meant to keep the value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab


class UnmovedPenalty(Rule):
    """`if self.original is None: self.original = weight`, and from then on `weight - self.original` is 0."""

    code = "LP414"
    name = "unmoved-penalty"
    severity = "error"
    summary = "has a regularizer that does not notice when its weight moves: it compares the variable with itself"
    explanation = """
Keras hands a regularizer the variable, not its value. A penalty on the distance to earlier weights that keeps what it is
given the first time (`self.original = weight`) keeps the variable, which moves along with training: the distance is 0
at any time and the penalty has no effect at any strength. Nothing raises.

**Proof.** The weight is moved by a random step. As Keras calls it, the regularizer gives the same number as before, for
each of two steps. Given the moved value as a plain tensor while the variable stays where it is, it gives another one: it
was made to notice.

**What to do.** Keep a copy of the value: `keras.ops.convert_to_numpy(variable)` taken outside of the step, and given to
the regularizer when it is made.
"""
    source = (
        "keras/src/layers/layer.py, Layer._get_regularization_losses",
        "https://github.com/keras-team/keras/issues/12690",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")


class StayNear(keras.regularizers.Regularizer):
    original = None

    def __call__(self, weight):  # expect: LP414
        if self.original is None:
            self.original = weight
        return 0.1 * ops.sum(ops.square(weight - self.original))


model = keras.Sequential([keras.Input((4,)), layers.Dense(1, kernel_regularizer=StayNear())])
model.compile(optimizer="sgd", loss="mse")
model.fit(x, x[:, :1], verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")


class StayNear(keras.regularizers.Regularizer):
    def __init__(self, original, strength):
        self.original = original
        self.strength = strength

    def __call__(self, weight):
        return self.strength * ops.sum(ops.square(weight - self.original))


old = rng.normal(size=(4, 1)).astype("float32")
near, off = StayNear(old, 0.1), StayNear(old, 0.0)
hidden = layers.Dense(1, kernel_regularizer=near, kernel_initializer=lambda shape, dtype: old)
model = keras.Sequential([keras.Input((4,)), hidden, layers.Dense(1, kernel_regularizer="l2")])
model.compile(optimizer="sgd", loss="mse")
model.fit(x, x[:, :1], verbose=0)

model = keras.Sequential([keras.Input((4,)), layers.Dense(1, kernel_regularizer=off)])
model.compile(optimizer="sgd", loss="mse")
model.fit(x, x[:, :1], verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.wiring.penalties import unmoved

        if not any(getattr(variable, "regularizer", None) for variable in lab.model.trainable):
            raise NotApplicable("no weight has a regularizer")
        for one in lab.once(unmoved):
            yield Finding(
                code=self.code,
                name=self.name,
                severity=Severity.ERROR,
                title=f"the regularizer of {one.weight} does not notice when its weight moves",
                where=one.where,
                explanation=(
                    f"The {one.size} weights of {one.weight} were moved by {one.distance:.3g}. The penalty stays at "
                    f"{one.moved:.4g}, since it compares the variable with itself; for the moved value beside the present "
                    f"one it would be {one.moved_value:.4g}. Its strength has no effect on training."
                ),
                evidence={"weight": one.weight, "step": one.distance, "penalty": one.penalty},
                counterfactual=Counterfactual(
                    change="the value instead of the variable",
                    before=one.moved,
                    after=one.moved_value,
                    label="penalty after a step of the weight",
                    columns=("variable, as Keras calls it", "value"),
                    rows=(Row("penalty before the step", one.penalty, one.penalty),),
                ),
                fix=Fix(
                    "Keep a copy of the value (keras.ops.convert_to_numpy, outside of the step), not the variable.",
                    where=one.where,
                ),
            )
