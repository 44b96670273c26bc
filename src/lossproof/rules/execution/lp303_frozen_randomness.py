"""LP303: random numbers are drawn once, when the step is traced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.execution.randomness import FrozenRandomness
    from lossproof.lab.lab import Lab


class FrozenRandom(Rule):
    """Noise that is the same in each step."""

    code = "LP303"
    name = "frozen-randomness"
    severity = "error"
    summary = "draws Python or NumPy randomness once, at trace time"
    explanation = """
TensorFlow and JAX run your Python code once, to trace the step. What `np.random`, `random` or a NumPy generator gives
then becomes a constant of the compiled step: the noise, the mask, the choice of a sample is the same in every step of
the training. On JAX the same holds for a `keras.random.SeedGenerator` that neither the model nor a layer holds. Nothing
raises, and run eagerly (or on PyTorch) the same code draws anew.

**Proof.** All generators that the objective reaches are seeded. Run eagerly the objective depends on the seed and on
nothing else. The compiled step gives the same number to the last bit under another seed, and another number when it is
traced anew.

**What to do.** `keras.random.normal(shape, seed=self.seed_generator)`, with
`self.seed_generator = keras.random.SeedGenerator(1)` kept by a layer or the model, whose state is then part of the step.
"""
    source = (
        "keras/src/random/seed_generator.py, SeedGenerator",
        "https://www.tensorflow.org/guide/function#executing_python_side_effects",
    )
    backends = ("tensorflow", "jax")
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = x[:, :1]


def smoothed(y_true, y_pred):
    noise = np.random.normal(scale=0.5)  # expect: LP303
    return ops.mean(ops.square(y_true + noise - y_pred), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss=smoothed)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = x[:, :1]
weight = float(np.random.uniform(0.5, 1.5))  # drawn once, before training


class Smoothed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        noise = 0.5 * keras.random.normal((1,), seed=self.seed_generator)
        return ops.mean(weight * ops.square(y + noise - y_pred))


inputs = keras.Input((4,))
model = Smoothed(inputs=inputs, outputs=layers.Dense(1)(layers.Dropout(0.1)(inputs)))
model.compile(optimizer="sgd")
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.execution.randomness import frozen_randomness

        if lab.capture.error is not None or not lab.capture.training:
            raise NotApplicable("nothing was trained by this call")
        found = lab.attempt(lambda: lab.once(frozen_randomness))
        if found is not None:
            yield self._finding(lab, found)

    def _finding(self, lab: Lab, found: FrozenRandomness) -> Finding:
        expression = (
            f"`{found.event.place.expression}`" if found.event is not None else "A generator of Python or NumPy"
        )
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="random numbers are drawn once, when the step is traced",
            where=lab.place_of_event(found.event) if found.event is not None else lab.capture.where,
            measured="1 batch, 2 seeds",
            explanation=(
                f"{expression} runs while the step is traced, and what it draws then is a constant of the compiled step: "
                "every step of the training uses the same numbers. Run eagerly it draws anew. Nothing raises."
            ),
            evidence={"eager": list(found.eager), "compiled": list(found.compiled), "traced_anew": found.fresh},
            counterfactual=Counterfactual(
                change="trace the step anew",
                before=found.compiled[1],
                after=found.fresh,
                label="step with another seed",
                columns=("as compiled", "traced anew"),
                rows=(
                    Row("step with the seed of its trace", found.compiled[0], found.compiled[0]),
                    Row("loss, eagerly, with one seed and another", found.eager[0], found.eager[1]),
                ),
            ),
            fix=Fix(
                "Draw from keras.random with a SeedGenerator that the model or a layer holds: its state is part of the "
                "step, on every backend.",
                code="keras.random.normal(shape, seed=self.seed_generator)",
            ),
        )
