"""LP103: a loss that has reduced what sample weights should act on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.shape.weights_within import WeightsWithin
    from lossproof.lab.subject import LossSubject


class ScalarWithWeights(Rule):
    """One number per batch, or per row, leaves nothing for finer weights to act on."""

    code = "LP103"
    name = "scalar-with-weights"
    severity = "error when weights are given, else note"
    summary = "returns a scalar, so sample weights, class weights or masks cannot act per sample (or per time step)"
    explanation = """
Keras multiplies what a loss returns by the sample weights and then takes the mean. If the loss has reduced itself to
one number, there is nothing left to weight: the number is multiplied by the *mean* of the weights, so only the scale
changes. `sample_weight`, `class_weight` (which becomes sample weights) and masks then do not do what they say, and
nothing raises.

The same happens within a sample: weights of shape (B, T), one for each time step, broadcast against a loss that has
averaged over the steps and returns (B,) or (B, 1). Each sample is then multiplied by the mean of its weights, and a step
with the weight 0 counts like the others. (Not told of weights that are the same all over a sample.)

**Proof.** The weights are dealt to other samples, or to other steps of the same sample: the loss does not move, where
the same loss evaluated sample by sample, or step by step, and then weighted does. Steps whose order the loss depends on
are left alone.

**What to do.** Return one value per sample, or per step where weights have one: reduce over the last axes only.
"""
    source = (
        "keras/src/losses/loss.py, reduce_weighted_values",
        "https://github.com/tensorflow/tensorflow/issues/85174",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3)).astype("float32")
y = x @ rng.normal(size=(3, 2)).astype("float32")
trust = rng.uniform(0.1, 1.0, size=64).astype("float32")


def squared_error(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))  # expect: LP103


model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
model.compile(optimizer="sgd", loss=squared_error)
model.fit(x, y, sample_weight=trust, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3)).astype("float32")
y = x @ rng.normal(size=(3, 2)).astype("float32")
trust = rng.uniform(0.1, 1.0, size=64).astype("float32")


def squared_error(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
model.compile(optimizer="sgd", loss=squared_error)
model.fit(x, y, sample_weight=trust, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.shape.weights_within import weights_within
        from lossproof.lab.shape.wrong_axis import wrong_axis

        if not lab.losses:
            raise NotApplicable("no loss returns a value to Keras")
        for subject in lab.losses:
            value = lab.unreduced(subject)
            if subject.batch_size < 2:
                continue
            if value.size != 1:
                within = lab.once(weights_within, subject)
                if within is not None:
                    yield self._within(lab, within)
                continue
            if subject.sample_weight is not None and value.ndim and lab.once(wrong_axis, subject) is not None:
                continue  # LP104 says why
            if subject.sample_weight is not None:
                yield from self._weights(lab, subject)
            elif value.ndim == 0:  # of shape (1,) LP104 tells
                yield from self._note(lab, subject)

    def _weights(self, lab: Lab, subject: LossSubject) -> Iterator[Finding]:
        from lossproof.lab.shape.alignment import place_of_reduction

        size = subject.batch_size
        given = lab.number(subject.sample_weight)
        order = np.roll(np.argsort(given.reshape(size, -1)[:, 0], kind="stable"), size // 2)
        dealt = given[order]
        remark = ""
        if (given == given[0]).all():  # equal weights: let them differ, to see whether they could act
            given, dealt = np.linspace(0.5, 1.5, size), np.linspace(1.5, 0.5, size)
            remark = ", where all weights are equal; with weights from 0.5 to 1.5 instead"
        each = np.array([self._alone(lab, subject, i) for i in range(size)], dtype="float64")
        if not np.isfinite(each).all():
            return
        now, moved = (
            lab.value(subject.changed(sample_weight=lab.backend.tensor(w.astype("float32")))) for w in (given, dealt)
        )
        shaped = [w.reshape(size, -1).mean(axis=1) for w in (given, dealt)]
        meant, meant_moved = (float(np.mean(each * w)) for w in shaped)
        if differs(now, moved, terms=size) or not differs(meant, meant_moved, terms=size):
            return
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title="the weights cannot act: the loss is one number for the whole batch",
            where=lab.once(place_of_reduction, subject),
            measured=f"1 batch of {size}{remark}",
            explanation=(
                f"{subject.name} returns a single number, so Keras can only multiply it by the mean of the {size} "
                "weights. Which sample has which weight makes no difference. Nothing raises."
            ),
            evidence={"shape": [], "batch": size, "mean_weight": float(np.mean(shaped[0]))},
            counterfactual=Counterfactual(
                change="weight each sample's own loss",
                before=now,
                after=meant,
                columns=("as written", "per sample"),
                rows=(Row("weights dealt to other samples", moved, meant_moved, "the weights are not used"),),
            ),
            fix=Fix("Return one value per sample: reduce over the last axes only, not over the batch."),
        )

    def _within(self, lab: Lab, found: WeightsWithin) -> Finding:
        subject, axis = found.subject, found.axis
        shape = tuple(subject.sample_weight.shape)
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"the weights cannot act along axis {axis}: the loss has reduced it",
            where=lab.place_of_event(found.event) if found.event is not None else lab.place(subject),
            measured=f"1 batch of {subject.batch_size}",
            explanation=(
                f"sample_weight has shape {shape}, and {subject.name} returns shape {found.returned}: it has reduced axis "
                f"{axis}, along which the weights differ. Of the {found.count} weights there only the mean acts; which of "
                "the positions has which makes no difference, and one with the weight 0 counts like the others. Nothing "
                "raises: the shapes broadcast."
            ),
            evidence={"weights": list(shape), "returned": list(found.returned), "axis": axis},
            counterfactual=Counterfactual(
                change=f"weight each position along axis {axis} by itself",
                before=found.before,
                after=found.after,
                columns=("as written", "per position"),
                rows=(
                    Row("weights dealt to other positions", found.dealt, found.after_dealt, "the weights are not used"),
                ),
            ),
            fix=Fix(f"Return one value for each weight: keep axis {axis}, and reduce over the axes after it only."),
        )

    def _alone(self, lab: Lab, subject: LossSubject, row: int) -> float:
        value = lab.attempt(
            lambda: float(lab.unreduced(subject.rows(np.array([row])).changed(sample_weight=None)).sum())
        )
        return np.nan if value is None else value

    def _note(self, lab: Lab, subject: LossSubject) -> Iterator[Finding]:
        from lossproof.lab.shape.alignment import place_of_reduction

        value = float(lab.unreduced(subject))
        half = np.arange(subject.batch_size // 2)
        part = lab.attempt(lambda: float(lab.unreduced(subject.rows(half))))
        if part is None:
            return
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.NOTE,
            title="the loss is one number for the whole batch: sample weights could not act on it",
            where=lab.once(place_of_reduction, subject),
            measured=f"1 batch of {subject.batch_size}",
            explanation=(
                f"{subject.name} returns a single number for the batch. Without weights that is no mistake; "
                "`sample_weight`, `class_weight` or a mask would only scale it."
            ),
            evidence={"shape": [], "batch": subject.batch_size},
            counterfactual=Counterfactual("evaluate half of the batch: again one number", value, part),
            fix=Fix("Return one value per sample if weights are ever to be used."),
        )
