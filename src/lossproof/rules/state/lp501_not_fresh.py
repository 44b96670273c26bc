"""LP501: a comparison in which the second model starts where the first one ended."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.capture.record import Training
    from lossproof.lab.lab import Lab


class NotFresh(Rule):
    """Two models, compared on the same data under the same settings, share trained weights."""

    code = "LP501"
    name = "not-fresh"
    severity = "warning"
    summary = "starts from weights that another model already trained, where a fresh start is compared"
    explanation = """
Two models made of the same layers (the same symbolic tensors, a shared `base`) share their weights. If one is trained
after the other, under the same settings and on the same data, it continues the first training instead of starting its
own, and whatever is compared (a custom loss with the built-in one) shows the order of training, not the difference.

It is reported only where everything says that two runs are compared: another model object of the same form, the same
data, the same optimizer settings with a fresh optimizer, the same epochs and batch size, and no return to the first
model afterwards. Transfer learning, fine-tuning, alternating training and GANs differ in at least one of these.

**Proof.** The second model's loss on the batch, as it started; and with the weights with which the first one started.

**What to do.** Build fresh layers for each model, with the same seed (`keras.utils.set_random_seed`).
"""
    source = ("https://github.com/keras-team/keras/issues/16836",)
    guilty = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(128, 3)).astype("float32")
y = x @ rng.normal(size=(3, 1)).astype("float32")

inputs = keras.Input((3,))
outputs = layers.Dense(1)(inputs)
for loss in ("mse", "huber"):
    model = keras.Model(inputs, outputs)
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss=loss)
    history = model.fit(x, y, verbose=0)  # expect: LP501
    print(loss, history.history["loss"])
"""
    innocent = """
import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x = rng.normal(size=(128, 3)).astype("float32")
y = x @ rng.normal(size=(3, 1)).astype("float32")

for loss in ("mse", "huber"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss=loss)
    history = model.fit(x, y, verbose=0)
    print(loss, history.history["loss"])
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        trainings = lab.run.trainings
        mine = next((one for one in trainings if one.capture == lab.capture.id), None)
        if mine is None or not mine.began_trained_by:
            raise NotApplicable("no other model had trained these weights before")
        before = [one for one in trainings if one.capture in mine.began_trained_by]
        first = next((one for one in before if self._compared(one, mine, trainings)), None)
        if first is None:
            raise NotApplicable("weights are shared with another training, but under other data or settings")
        now = lab.attempt(lambda: lab.total)
        fresh = lab.attempt(lambda: lab.total_with_shared(first))
        if now is None or fresh is None or not (np.isfinite(now) and np.isfinite(fresh)) or not differs(now, fresh):
            return
        shared = lab.shared_weights(first)
        line = f"line {first.where.line}" if first.where is not None else "before"
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            title=f"{mine.model_name} starts from weights that {first.model_name} has trained",
            where=mine.where,
            explanation=(
                f"Both models hold the same {shared} weights. {first.model_name} trained them at {line}, on the same data "
                f"and with the same settings, and {mine.model_name} goes on from there. Their losses differ by who came "
                "first, whatever their objectives are."
            ),
            evidence={
                "shared_weights": shared,
                "trained_by": first.model_name,
                "trained_for_steps": first.steps,
                "at_line": first.where.line if first.where is not None else None,
            },
            counterfactual=Counterfactual(
                change=f"the weights with which {first.model_name} started",
                before=now,
                after=fresh,
                label=f"loss of {mine.model_name} at its start",
                columns=("as trained", "fresh start"),
                rows=self._reported(first, mine),
            ),
            fix=Fix("Build new layers for each model that is compared, and set the seed before each."),
        )

    @staticmethod
    def _compared(first: Training, mine: Training, trainings: list[Training]) -> bool:
        """Whether two trainings look like two arms of one comparison."""
        # References, not models: those of a loop are gone by now, and all that is gone is None.
        again = any(one.model == first.model and one.capture > mine.capture for one in trainings)
        earlier = any(one.model == mine.model and one.capture < mine.capture for one in trainings)
        shapes = [[tuple(v.shape) for v in map(_alive, one.variables) if v is not None] for one in (first, mine)]
        return (
            first.call == mine.call == "fit"
            and not again
            and not earlier
            and first.data == mine.data
            and first.settings == mine.settings
            and shapes[0] == shapes[1]
        )

    @staticmethod
    def _reported(first: Training, mine: Training) -> tuple[Row, ...]:
        logs = [(one.first_logs or {}).get("loss") for one in (first, mine)]
        if None in logs:
            return ()
        return (Row(f"first epoch's loss: {first.model_name}, then {mine.model_name}", logs[0], logs[1]),)


def _alive(reference: weakref.ref[Any]) -> Any:
    return reference()
