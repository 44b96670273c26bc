"""LP102: targets and predictions broadcast along an axis other than the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.shape.misaligned import Misaligned
    from lossproof.lab.shape.spreading import Spreading


class FeatureBroadcast(Rule):
    """One target for several outputs, or one output for several targets."""

    code = "LP102"
    name = "feature-broadcast"
    severity = "error"
    summary = "broadcasts a non-batch axis silently (one target column against three outputs)"
    explanation = """
Targets of shape (B, 1) and predictions of shape (B, 3) broadcast: each of the three outputs is compared with the same
target, and all three learn the same number. The reverse, one output against three target columns, learns their mean.
The same happens along time steps or channels. The shapes differ, but nothing raises: most losses of Keras are differences,
which broadcast.

Several outputs for one target may be wanted: quantiles, mixtures, the best of several guesses. Those treat their outputs
differently, or together, and are left alone.

A tensor that lacks a last axis of 1 meets another one from the right: weights (B, H, W) and losses (B, H, W, 1) match
rows with lines and lines with columns. Mostly that raises. In a batch of one picture that is square it does not, and each
pixel is multiplied with a whole line of weights.

**Proof.** The repetition is written out, and the value stays the same. The outputs (or the target columns) are put in
the reverse order, and the value stays the same: the objective does not tell them apart. The gradient of one output does
not depend on the others; or, where it does (the length of the whole error), outputs that are all the same are better than
outputs that differ, which is not so for an ensemble. Of a missing axis: with another number of rows the same expression
raises; with the axis it does not, and one row gives the same value as the same row twice.

**What to do.** Give the model as many outputs as the targets have columns, or return the output that is meant.
"""
    source = (
        "keras/src/losses/losses.py, squeeze_or_expand_to_same_rank: ranks are aligned, sizes are not compared",
        "https://github.com/keras-team/keras/issues/19601",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 3)).astype("float32")
y = (x @ rng.normal(size=(3, 1))).astype("float32")


def squared_error(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)  # expect: LP102


model = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
model.compile(optimizer="sgd", loss=squared_error)
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(96, 3)).astype("float32")
y = (x @ rng.normal(size=(3, 1))).astype("float32")


def quantiles(y_true, y_pred):  # one target for three outputs, each with a quantile of its own
    level = ops.convert_to_tensor([0.1, 0.5, 0.9], dtype=y_pred.dtype)
    error = y_true - y_pred
    return ops.mean(ops.maximum(level * error, (level - 1.0) * error), axis=-1)


model = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
model.compile(optimizer="sgd", loss=quantiles)
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.shape.misaligned import misaligned
        from lossproof.lab.shape.spreading import spreading

        subjects: list[Any] = [*lab.losses, *(one for one in (lab.objective,) if one is not None)]
        if not subjects:
            raise NotApplicable("no loss of targets and predictions was heard")
        found = False
        for subject in subjects:
            if subject.kind == "compute_loss" and found:
                return  # the same once more
            proof = lab.once(spreading, subject)
            if proof is not None:
                found = True
                yield self._finding(lab, proof)
                continue
            inside = lab.once(misaligned, subject)
            if inside is not None and inside.kind == "size":
                found = True
                yield self._inside(lab, inside)

    def _finding(self, lab: Lab, found: Spreading) -> Finding:
        subject, count = found.subject, found.count
        if found.targets_repeat:
            title = f"one target is compared with {count} outputs, which all learn the same"
            follows = (
                f"Each target is compared with {count} outputs along axis {found.axis}, all in the same way, so that they "
                "all learn the same number."
            )
            fix = f"Give the model as many outputs as there are targets (one along axis {found.axis}), or pick the one meant."
            things = "outputs"
        else:
            title = f"one output is compared with {count} targets, and learns their mean"
            follows = (
                f"Each output is compared with {count} targets along axis {found.axis}, all in the same way, so that no "
                "prediction can be right for all of them."
            )
            fix = f"Give the model {count} outputs along axis {found.axis}, or pass the target column that is meant."
            things = "targets"
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=title,
            where=lab.place_of_event(found.event) if found.event is not None else lab.place(subject),
            measured=f"1 batch of {subject.batch_size}",
            explanation=(
                f"y_true has shape {found.shapes[0]} and y_pred {found.shapes[1]}. {follows} Nothing raises: the sizes "
                "broadcast."
            ),
            evidence={
                "subject": subject.name,
                "shapes": {"y_true": list(found.shapes[0]), "y_pred": list(found.shapes[1])},
                "axis": found.axis,
                "reversed": found.reversed,
            },
            counterfactual=Counterfactual(
                change=f"the first of the {count} {things} alone",
                before=found.before,
                after=found.first,
                columns=("as written", f"first of the {things}"),
                rows=(Row(f"with the {things} in the reverse order", found.reversed, None, "they are not told apart"),),
            ),
            fix=Fix(fix),
        )

    def _inside(self, lab: Lab, one: Misaligned) -> Finding:
        lower, higher = (tuple(operand.value.shape) for operand in (one.lower, one.higher))
        made, size = tuple(one.event.value.shape), one.subject.batch_size
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=f"`{one.lower.expression}` lacks the last axis of `{one.higher.expression}`, and meets it shifted by one axis",
            where=lab.place_of_event(one.event),
            measured=f"1 batch of {size}",
            explanation=(
                f"{lower} and {higher} are matched from the right and give {made}: each number of the one meets several of "
                f"the other. It runs for {'a batch of one row' if size == 1 else f'{size} rows'} and sizes like these only. "
                f"With a batch of {one.rows} it fails: {one.fails}."
            ),
            evidence={
                "subject": one.subject.name,
                "shapes": {one.lower.expression: list(lower), one.higher.expression: list(higher)},
                "result": list(made),
            },
            counterfactual=Counterfactual(
                change=f"`{one.lower.expression}` with shape {(*lower, 1)}",
                before=one.before,
                after=one.after,
                columns=("as written", "same axes"),
                rows=(Row(f"what a batch of {one.rows} does", "raises", "runs"),),
            ),
            fix=Fix(f"Keep the last axis of 1 in `{one.lower.expression}`, or take it from both."),
        )
