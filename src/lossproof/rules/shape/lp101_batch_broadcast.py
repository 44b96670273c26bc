"""LP101: targets and predictions broadcast across the batch axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lossproof.findings.finding import Counterfactual, Finding, Fix, Row, Severity
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable, Rule

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab
    from lossproof.lab.localize.events import Event
    from lossproof.lab.shape.alignment import Alignment
    from lossproof.lab.shape.misaligned import Misaligned
    from lossproof.lab.shape.pairs import AllPairs
    from lossproof.lab.subject import Subject


class BatchBroadcast(Rule):
    """Every prediction is compared with every target."""

    code = "LP101"
    name = "batch-broadcast"
    severity = "error"
    summary = "pairs every prediction with every target: y_true and y_pred broadcast across the batch axis"
    explanation = """
Targets of shape (B,) and predictions of shape (B, 1) do not subtract row by row: they broadcast to (B, B), and every
prediction is compared with every target of the batch. The mean over all pairs is a number that falls for a while, so
nothing raises, but it is smallest when every prediction is the same. Keras aligns the ranks for built-in losses and for
functions given to `compile`; not for `keras.losses.Loss` subclasses, metric functions, an overridden `compute_loss` or
a `train_step`.

**Proof.** One input is given the rank of the predictions, and nothing else is changed. The pairs are gone and the value
is another one. As written, the value does not follow when the targets are dealt to other rows. Where the loss makes the
pairs itself (an `expand_dims` too many), it is held against the mean of its values on single rows, and a model that
predicts the same for all rows is as good as a perfect one: a distance between sets, which pairs all rows on purpose, is
smallest for the perfect one. Where a column of the targets meets the predictions inside of the loss, the axis that one of
them lacks is added there: the value as written is the mean, or the sum, over all ways to deal that column to the rows.

**What to do.** Give the targets a last axis of 1 (`y[:, None]`), or reshape `y_true` to the shape of `y_pred` inside the
loss.
"""
    source = (
        "keras/src/losses/losses.py, LossFunctionWrapper.call: only functions are aligned",
        "https://github.com/keras-team/keras/issues/19601",
    )
    guilty = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3)).astype("float32")
y = x @ rng.normal(size=3).astype("float32")


class SquaredError(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)  # expect: LP101


model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss=SquaredError())
model.fit(x, y, verbose=0)
"""
    innocent = """
import keras
import numpy as np
from keras import layers, ops

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 3)).astype("float32")
y = x @ rng.normal(size=3).astype("float32")


def squared_error(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)  # Keras aligns the ranks for a function


model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
model.compile(optimizer="sgd", loss=squared_error)
model.fit(x, y, verbose=0)
"""

    def check(self, lab: Lab) -> Iterator[Finding]:
        from lossproof.lab.shape.alignment import alignments
        from lossproof.lab.shape.misaligned import misaligned
        from lossproof.lab.shape.pairs import all_pairs

        subjects = [*lab.subjects, *lab.metrics]
        found = list(self._of_ranks(lab, subjects))
        if not found:
            pairs = [(one, lab.attempt(partial(lab.once, all_pairs, one))) for one in lab.losses]
            found = [self._all_pairs(lab, one, proof) for one, proof in pairs if proof is not None]
        if not found:
            inside = [lab.once(misaligned, one) for one in subjects if one.kind in ("loss", "compute_loss")]
            found = [self._inside(lab, one) for one in inside if one is not None and one.kind == "pairs"][:1]
        if not found and not any(lab.once(alignments, subject) for subject in subjects) and not lab.losses:
            raise NotApplicable("neither targets nor weights have one number per row")
        yield from found

    def _of_ranks(self, lab: Lab, subjects: Sequence[Subject]) -> Iterator[Finding]:
        """Targets or weights with one number per row, whose rank alone makes the pairs."""
        from lossproof.lab.shape.alignment import alignments, moved_into_range

        for subject in subjects:
            for alignment in lab.once(alignments, subject):
                finding = self._proven(lab, alignment, "")
                moved = None if finding is not None else moved_into_range(alignment)
                if moved is not None:
                    finding = self._proven(lab, moved, ", predictions in the range of the targets")
                if finding is not None:
                    yield finding
                    break

    def _proven(self, lab: Lab, alignment: Alignment, remark: str) -> Finding | None:
        from lossproof.lab.shape.alignment import beaten_by_a_constant, dealt, pairing

        subject, aligned = alignment.subject, alignment.aligned
        before, after = lab.attempt(lambda: lab.value(subject)), lab.attempt(lambda: lab.value(aligned))
        if before is None or after is None or not (np.isfinite(before) and np.isfinite(after)):
            return None
        size = subject.batch_size
        # The same numbers reach both columns: what is left of a difference must be more than rounding.
        if not differs(before, after, terms=size * size):
            return None
        mixed = lab.once(dealt, alignment, subject), lab.once(dealt, alignment, aligned)
        if mixed[1] is None or not differs(after, mixed[1], terms=size * size):
            return None
        unpaired = mixed[0] is not None and not differs(before, mixed[0], terms=size * size)
        pairs = lab.once(pairing, alignment)
        if pairs.event is None and (pairs.seen or not unpaired):
            return None
        beaten = lab.once(beaten_by_a_constant, alignment)
        if beaten is False or (beaten is None and pairs.event is None):
            return None
        return self._finding(lab, alignment, pairs.event, (before, after), mixed, remark, unpaired)

    def _finding(
        self,
        lab: Lab,
        alignment: Alignment,
        event: Event | None,
        values: tuple[float, float],
        dealt: tuple[float | None, float | None],
        remark: str,
        unpaired: bool,
    ) -> Finding:
        from lossproof.lab.shape.alignment import perfect

        subject, size = alignment.subject, alignment.subject.batch_size
        rows = [
            Row(
                f"with {alignment.name} dealt to other rows",
                *dealt,
                "pairing is ignored" if unpaired else "",
            )
        ]
        best = lab.once(perfect, alignment)
        if best is not None:
            rows.append(Row("with y_pred = y_true", *best, "a perfect model"))
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=(
                f"every prediction is compared with all {size} {alignment.plural}: "
                f"{size * size} pairs, {size * size - size} of them wrong"
            ),
            where=lab.place_of_event(event) if event is not None else lab.place(subject),
            measured=f"1 batch of {size}{remark}",
            explanation=f"{self._met(alignment)} ({size}, {size}). Nothing raises, so training runs on.",
            evidence={
                "subject": subject.name,
                "shapes": {alignment.name: list(alignment.shape), alignment.partner: list(alignment.partner_shape)},
                "batch": size,
                "pairs": size * size,
                "dealt": dealt[0],
            },
            counterfactual=Counterfactual(
                change=f"{alignment.name} with shape {alignment.turned}",
                before=values[0],
                after=values[1],
                columns=("as written", "rows paired"),
                label=f"{subject.kind if subject.kind == 'metric' else 'loss'} on this batch",
                rows=tuple(rows),
            ),
            fix=self._fix(alignment),
        )

    def _all_pairs(self, lab: Lab, subject: Subject, proof: AllPairs) -> Finding:
        size = subject.batch_size
        rows = (
            Row("with y_true dealt to other rows", proof.dealt, proof.after_dealt, "pairing is ignored"),
            Row("with y_pred = y_true", *proof.perfect, "a perfect model"),
        )
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=(
                f"every prediction is compared with all {size} targets: "
                f"{size * size} pairs, {size * size - size} of them wrong"
            ),
            where=lab.place_of_event(proof.event),
            measured=f"1 batch of {size}",
            explanation=(
                f"In `{proof.event.place.expression}` the rows of the targets meet the rows of the predictions on another "
                "axis. Which target belongs to which row has no effect on the value, and nothing raises."
            ),
            evidence={"subject": subject.name, "batch": size, "pairs": size * size, "dealt": proof.dealt},
            counterfactual=Counterfactual(
                change="the loss of each row alone, averaged",
                before=proof.before,
                after=proof.after,
                columns=("as written", "rows paired"),
                label="loss on this batch",
                rows=rows,
            ),
            fix=Fix("Give both the same axes before they meet: rows first, and no axis of length 1 between them."),
        )

    def _inside(self, lab: Lab, one: Misaligned) -> Finding:
        size, lower, higher = one.subject.batch_size, one.lower.expression, one.higher.expression
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            title=(
                f"`{lower}` ({size},) meets `{higher}` ({size}, 1): {size * size} pairs of rows, {size * size - size} of "
                "them wrong"
            ),
            where=lab.place_of_event(one.event),
            measured=f"1 batch of {size}",
            explanation=(
                f"In `{one.event.place.expression}` one side has no last axis, so that each row of the targets meets each row "
                "of the predictions. What is computed is what comes out over all ways to deal the one to the other; which "
                "belongs to which has no effect. Nothing raises."
            ),
            evidence={"subject": one.subject.name, "batch": size, "pairs": size * size, "dealt": one.dealt},
            counterfactual=Counterfactual(
                change=f"`{lower}` with shape ({size}, 1)",
                before=one.before,
                after=one.after,
                columns=("as written", "rows paired"),
                label="loss on this batch",
                rows=(Row("with the targets there dealt to other rows", one.before, one.dealt, "pairing is ignored"),),
            ),
            fix=Fix("Give both the same rank before they meet: a last axis of 1 for both, or for neither."),
        )

    @staticmethod
    def _met(alignment: Alignment) -> str:
        name, shape = alignment.name, alignment.shape
        if alignment.partner_shape == alignment.turned:
            return (
                f"{name} has shape {shape} where {alignment.partner} has {alignment.partner_shape}, "
                "so they broadcast to"
            )
        return (
            f"{name} has shape {shape} and meets a tensor of shape {alignment.turned}, made of {alignment.partner} "
            f"{alignment.partner_shape} on the way, so they broadcast to"
        )

    @staticmethod
    def _fix(alignment: Alignment) -> Fix:
        name, partner, turned = alignment.name, alignment.partner, alignment.turned
        if not alignment.given or alignment.partner_shape == alignment.shape:
            way = "[:, None]" if len(turned) == 2 else "[:, 0]"
            return Fix(
                f"Take the last axis from both {name} and {partner}, or from neither.", code=f"{name} = {name}{way}"
            )
        variable = {"y_true": "y", "sample_weight": "sample_weight"}[alignment.field]
        code = f"{variable} = {variable}[:, None]   # (N, 1)" if len(turned) == 2 else f"{variable} = {variable}[:, 0]"
        return Fix(
            f"Give {name} the shape {'of ' + partner if alignment.partner_shape == turned else '(N,)'}: "
            "where the data are made, or in the loss.",
            code=code,
        )
