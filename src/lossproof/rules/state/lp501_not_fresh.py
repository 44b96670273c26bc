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

The same happens to the folds of a cross-validation whose model, or layers, are made once outside of the loop: from the
second fold on, the rows that are held out have been trained on.

Two arms of a comparison are reported only where everything says that two runs are compared: another model object of the
same form, the same data, the same optimizer settings with a fresh optimizer, the same epochs and batch size, and no
return to the first model afterwards. Transfer learning, fine-tuning, alternating training and GANs differ in at least
one of these. Folds are reported where the settings are the same, the rows overlap, and the rows that the fold is judged
on are among those that its weights have seen.

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
        from lossproof.lab.state.sharing import shared_weights, total_with_shared

        trainings = lab.run.trainings
        mine = next((one for one in trainings if one.capture == lab.capture.id), None)
        if mine is None or not (mine.began_trained_by or self._seen_before(mine, trainings)):
            raise NotApplicable("no other model had trained these weights before")
        for fold, seen in self._seen_before(mine, trainings):
            yield from self._leak(lab, fold, mine, seen)
            return
        before = [one for one in trainings if one.capture in mine.began_trained_by]
        first = next((one for one in before if self._compared(one, mine, trainings)), None)
        if first is None:
            raise NotApplicable("weights are shared with another training, but under other data or settings")
        now = lab.attempt(lambda: lab.total)
        fresh = lab.attempt(lambda: lab.once(total_with_shared, first))
        if now is None or fresh is None or not (np.isfinite(now) and np.isfinite(fresh)) or not differs(now, fresh):
            return
        shared = lab.once(shared_weights, first)
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
    def _seen_before(mine: Training, trainings: list[Training]) -> list[tuple[Training, int]]:
        """Earlier folds of the same experiment: trainings of these weights that saw rows held out from this one."""
        found = []
        for first in trainings:
            if first.capture not in mine.began_trained_before or not (first.call == mine.call == "fit"):
                continue
            if first.rows is None or mine.rows is None or first.settings != mine.settings:
                continue
            # A second phase has other rows, a continued one has the same; folds have some of them in common.
            if not np.isin(first.rows, mine.rows).any() or np.isin(first.rows, mine.rows).all():
                continue
            held_out = [marks for marks in mine.judged if not np.isin(marks, mine.rows).any()]
            seen = max((int(np.isin(marks, first.rows).sum()) for marks in held_out), default=0)
            if seen:
                found.append((first, seen))
        return found

    def _leak(self, lab: Lab, first: Training, mine: Training, seen: int) -> Iterator[Finding]:
        from lossproof.lab.state.sharing import shared_weights, total_with_shared

        now = lab.attempt(lambda: lab.total)
        fresh = lab.attempt(lambda: lab.once(total_with_shared, first))
        if now is None or fresh is None or not (np.isfinite(now) and np.isfinite(fresh)) or not differs(now, fresh):
            return
        shared = lab.once(shared_weights, first)
        same = mine.model() is first.model()
        again = (
            "compile() gives it a new optimizer and leaves its weights alone"
            if same
            else ("a new model around layers that exist already holds their weights as they are")
        )
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.WARNING,
            title="a fold begins with weights that were trained on the rows it holds out",
            where=mine.where,
            explanation=(
                f"{mine.model_name} does not start afresh: {again}. Its {shared} weights were trained before, under the "
                f"same settings, and {seen} of the rows that this fold is judged on were trained on then. Each fold looks "
                "better than the one before it, and nothing raises."
            ),
            evidence={
                "shared_weights": shared,
                "trained_by": first.model_name,
                "held_out_rows_seen": seen,
                "at_line": first.where.line if first.where is not None else None,
            },
            counterfactual=Counterfactual(
                change="the weights with which the first fold started",
                before=now,
                after=fresh,
                label=f"loss of {mine.model_name} at its start",
                columns=("as trained", "fresh start"),
                rows=self._reported(first, mine),
            ),
            fix=Fix("Build the layers and the model anew in each fold."),
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
