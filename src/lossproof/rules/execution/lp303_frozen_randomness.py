"""LP303: random numbers are the same in every step: drawn when it is traced, or with a number for a seed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.execution.randomness import FrozenRandomness
    from lossproof.lab.execution.repeated_noise import RepeatedNoise
    from lossproof.lab.lab import Lab


class FrozenRandom(Rule):
    """Noise that is the same in each step."""

    code = "LP303"
    name = "frozen-randomness"
    severity = "error"
    summary = "draws Python or NumPy randomness once, at trace time, or the same noise in every step by a constant seed"
    explanation = """
TensorFlow and JAX run your Python code once, to trace the step. What `np.random`, `random` or a NumPy generator gives
then becomes a constant of the compiled step: the noise, the mask, the choice of a sample is the same in every step of
the training. On JAX the same holds for a `keras.random.SeedGenerator` that neither the model nor a layer holds. Nothing
raises, and run eagerly (or on PyTorch) the same code draws anew.

On every backend, and eagerly as well, `keras.random.normal(shape, seed=7)` is a function of its arguments: with an integer
for a seed it returns the same numbers at each call. The 16 rows of each batch get the same 16 patterns of noise, which a
model learns by heart; a mask hides the same features from the first step to the last.

**Proof.** All generators that the objective reaches are seeded. Run eagerly the objective depends on the seed and on
nothing else. The compiled step gives the same number to the last bit under another seed, and another number when it is
traced anew. Of a constant seed: two runs of the objective draw the same, for as many rows as the batch has (measured at
two sizes), and other numbers move the gradient; or numbers that predictions do not draw keep some of the weights, on which
predictions depend, from any gradient, which they get under other seeds.

Left alone are fixed projections and sketches, an order of the rows, numbers that no gradient depends on, seeds that the
script changes, and training on one and the same batch.

**What to do.** `keras.random.normal(shape, seed=self.seed_generator)`, with
`self.seed_generator = keras.random.SeedGenerator(1)` kept by a layer or the model, whose state is then part of the step.
"""
    source = (
        "https://github.com/keras-team/keras-io/pull/1693",
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
        from lossproof.lab.execution.repeated_noise import repeated_noise

        if lab.capture.error is not None or not lab.capture.training:
            raise NotApplicable("nothing was trained by this call")
        reasons: list[NotApplicable] = []
        for experiment, finding in ((frozen_randomness, self._finding), (repeated_noise, self._repeated)):
            try:
                found = lab.attempt(partial(lab.once, experiment))
            except NotApplicable as reason:
                reasons.append(reason)
                continue
            if found is not None:
                yield finding(lab, found)
                return
        if len(reasons) == 2:  # neither question could be asked
            raise reasons[-1]

    def _repeated(self, lab: Lab, found: RepeatedNoise) -> Finding:
        draw = found.draw
        at = draw.place.expression if draw.place is not None and draw.place.expression else f"keras.random.{draw.name}"
        rows = tuple(Row(f"with seed {draw.seed + n}", found.losses[0], one) for n, one in enumerate(found.others, 1))
        explanation = (
            f"`{at}` has the integer {draw.seed} for a seed, so it is a function of its arguments alone: it returns the "
            f"same numbers, of shape {draw.shape}, at each call, in every step, compiled or not. "
        )
        if found.way == "rows":
            explanation += (
                "They are drawn for the rows of the batch: each step brings other rows, and the same noise to them, which a "
                f"model can learn by heart. Other numbers move the gradient by {found.moved:.2g} of its length."
            )
        else:
            explanation += (
                f"Predictions do not draw them, yet they decide what is trained: {found.lost} of {found.numbers} numbers of "
                "the weights, on which predictions depend, get no gradient in any step. Under other seeds they do."
            )
        evidence: dict[str, object] = {"seed": draw.seed, "shape": list(draw.shape), "gradient_moves_by": found.moved}
        if found.lost:
            evidence["without_gradient"] = found.lost
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="the noise is the same in every step: its seed is a number",
            where=draw.place or lab.capture.where,
            measured=f"1 batch, {1 + len(found.others)} seeds",
            explanation=explanation,
            evidence=evidence,
            counterfactual=Counterfactual(
                change="draw other numbers",
                before=found.losses[1],
                after=found.others[0],
                label="loss in the next step, on the same batch",
                columns=("as written", "drawn anew"),
                rows=rows[1:],
            ),
            fix=Fix(
                "Pass a SeedGenerator that the model or a layer holds: its state moves on with each call.",
                code=f"self.seed_generator = keras.random.SeedGenerator({draw.seed})",
            ),
        )

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
