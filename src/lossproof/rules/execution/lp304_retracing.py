"""LP304: the step is traced or compiled anew again and again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.execution.retracing import Retracing
    from lossproof.lab.lab import Lab


class Retraced(Rule):
    """A training that spends its time compiling."""

    code = "LP304"
    name = "retracing"
    severity = "warning"
    summary = "is traced or compiled anew every step or every episode"
    explanation = """
TensorFlow and JAX trace and compile the training step once, which takes as long as hundreds of small steps, and then run
it. `model.compile` throws the compiled step away, and with it the state of the optimizer if it is given by name: in a
loop of episodes each episode compiles, trains a moment and forgets its momentum. On JAX a new shape has the same price:
a batch of another length is another program. Nothing raises; it is only slow, and gets no faster.

**Proof.** The compilations of the same objective, by the same line, for the same weights, are counted. Then the objective
and its gradient are staged anew as the script does it, and timed: the first call against the next ones. Reported is what
takes more than half of the time, in a loop of six rounds or more. A loop that puts the weights back between its rounds
compares trainings, and a changed `trainable` needs a new `compile`: neither is meant.

**What to do.** `compile` once, before the loop. What changes from round to round goes in as data (`sample_weight`), or
lives in a variable of the model or in `optimizer.learning_rate`. Pad batches to a few fixed lengths.
"""
    source = (
        "keras/src/trainers/trainer.py, compile: train_function = None",
        "https://www.tensorflow.org/guide/function#controlling_retracing",
        "https://github.com/keras-team/keras/issues/9151",
    )
    backends = ("tensorflow", "jax")
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
model = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(1)])


def scaled(factor):
    return lambda y_true, y_pred: factor * ops.mean(ops.square(y_true - y_pred), axis=-1)


for episode in range(8):
    x = rng.normal(size=(32, 4)).astype("float32")
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=scaled(0.1 * (episode + 1)))  # expect: LP304
    model.fit(x, x[:, :1], batch_size=16, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
model = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(1)])


def squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


model.compile(optimizer=keras.optimizers.SGD(0.01), loss=squared)
for episode in range(8):
    x = rng.normal(size=(32, 4)).astype("float32")
    weight = np.full(32, 0.1 * (episode + 1), dtype="float32")
    model.fit(x, x[:, :1], sample_weight=weight, batch_size=16, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.execution.retracing import retracing

        if lab.capture.model is None or not lab.capture.training:
            raise NotApplicable("nothing is trained by this call")
        if lab.overrides_train_step:
            raise NotApplicable("a train_step of the user's own cannot be timed apart from what it updates")
        found = lab.once(retracing)
        if found is not None:
            yield self._finding(lab, found)

    def _finding(self, lab: Lab, found: Retracing) -> Finding:
        kept = found.rounds * found.steps * found.step
        spent = found.times * found.tracing
        anew = found.cause == "compile"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            title=f"the step is compiled {found.times} times in {found.rounds} {'rounds' if anew else 'steps'}",
            where=found.where or lab.capture.where,
            measured=f"{found.rounds} {'calls of ' + lab.capture.call if anew else 'steps'}",
            explanation=" ".join(self._sentences(found, spent, kept)),
            evidence={
                "cause": found.cause,
                "compiled": found.times,
                "needed": found.needed,
                "rounds": found.rounds,
                "seconds_to_compile": round(found.tracing, 4),
                "seconds_per_step": round(found.step, 6),
                "share": round(found.share, 3),
            },
            counterfactual=Counterfactual(
                change="compile once, before the loop" if anew else "pad to one shape",
                before=found.times,
                after=found.needed,
                label="compilations of the step",
                columns=("as written", "once"),
                rows=(Row("seconds, objective and gradient", spent + kept, found.needed * found.tracing + kept),),
            ),
            fix=Fix(
                "Call compile once, before the loop. What changes from round to round goes in as sample_weight, as a "
                "variable of the model, or by assigning optimizer.learning_rate."
                if anew
                else "Pad batches to one length, or to a few, and give the padding a sample_weight of 0."
            ),
        )

    def _sentences(self, found: Retracing, spent: float, kept: float) -> Iterator[str]:
        if found.cause == "compile":
            yield (
                f"compile() discards the compiled step and the built losses, and this line runs in each of "
                f"{found.rounds} rounds, for the same loss code and the same weights."
            )
        else:
            yield f"{found.times} of {found.rounds} steps met a shape that none before them had, and JAX compiles each."
        yield (
            f"Measured here: {found.tracing:.2g} s to compile, {found.step:.2g} s for a step, so {found.share:.0%} of "
            f"{spent + kept:.2g} s go into compiling."
        )
        if found.cause == "compile":
            yield "An optimizer that is made anew each time starts without its accumulated state."
