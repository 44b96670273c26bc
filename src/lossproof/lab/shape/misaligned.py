"""Tensors of the same axes, but for a last one of 1, that broadcast against each other inside of a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras
import numpy as np

from lossproof.lab.failure import in_words
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event, Operand, Trace
from lossproof.lab.localize.queries import broadcasts
from lossproof.lab.localize.recorder import Recorder
from lossproof.lab.localize.shapes import shape_of
from lossproof.lab.noise import differs
from lossproof.lab.shape.alignment import meetings_of_rows
from lossproof.lab.slopes_inside import recorded
from lossproof.lab.subject import LossSubject, ObjectiveSubject, Subject

MOST = 128
"""Ways to deal the rows that are evaluated, each by the user's code run eagerly."""
ROUNDS = 4
"""Expressions one after the other that lack an axis."""


@dataclass(frozen=True)
class Misaligned:
    """Two operands of the user's, one (..., n) and one (..., n, 1), whose axes are matched from the right."""

    subject: Subject
    kind: Literal["pairs", "size"]
    """`pairs`: each row meets each row. `size`: it runs for this number of rows only, by chance."""
    event: Event
    lower: Operand
    higher: Operand
    before: float
    after: float
    """The loss with the missing axis."""
    dealt: float
    """`pairs`: with the missing axis and the targets dealt to other rows."""
    fails: str
    """`size`: the error for another number of rows."""
    rows: int
    """`size`: that number."""


Place = tuple[str, int, int, str]
Changes = dict[Place, Callable[[Any], Any]]


def misaligned(lab: Lab, subject: Subject) -> Misaligned | None:
    """The proof for one loss; None where nothing meets so, or where it may be meant.

    (B,) and (B, 1): the value is the mean, or the sum, of the values that the loss has with the missing axis and the
    targets dealt to other rows, by 0, 1, ... B - 1 rows. More axes: with another number of rows the very same expression
    raises, and with the missing axis it does not.
    """
    if not isinstance(subject, LossSubject | ObjectiveSubject) or subject.y_pred is None:
        return None
    trace = lab.attempt(lambda: lab.trace(subject))
    if trace is None or trace.error is not None:
        return None
    met = [event for event in trace.events if _operands(event) is not None]
    if not met:
        return None
    found: Misaligned | None = lab.attempt(partial(_by_pairs, lab, subject))
    for event in met if found is None else ():
        found = lab.attempt(partial(_by_size, lab, subject, event))
        if found is not None:
            break
    return found


def _operands(event: Event) -> tuple[Operand, Operand] | None:
    """The operand that lacks the last axis of 1, and the other one, where the two make more of both; else None."""
    held = [one for one in event.operands if shape_of(one.value)]
    if event.kind not in ("binop", "call") or len(held) != 2:
        return None
    lower, higher = sorted(held, key=lambda one: len(shape_of(one.value) or ()))
    small, large, value = (shape_of(one) or () for one in (lower.value, higher.value, event.value))
    if large != (*small, 1) or None in (*small, *value) or np.prod(value) <= np.prod(small):  # type: ignore[arg-type]
        return None
    return lower, higher


def _place(event: Event, operand: Operand | None = None) -> Place:
    at = event.place if operand is None else operand
    return event.place.file, at.line, at.column or 0, at.expression or ""


def _instead(lab: Lab, changes: Changes) -> Callable[[Event, Any], Any]:
    """What the user's code goes on with at each place."""

    def instead(met: Event, value: Any) -> Any:
        change = changes.get(_place(met))
        return value if change is None or not lab.backend.is_tensor(value) else change(value)

    return instead


def _traced(lab: Lab, subject: Subject, changes: Changes) -> Trace:
    return lab.trace(subject, lambda: Recorder(instead=_instead(lab, changes)))


def _with(lab: Lab, subject: Subject, changes: Changes) -> float:
    """The value of a subject with other values at some places of the user's code."""
    assert isinstance(subject, LossSubject | ObjectiveSubject)
    with recorded(lab, subject, Recorder(instead=_instead(lab, changes))), lab.backend.interpreted():
        return lab.value(subject)


# Pairs of rows, or of positions ---------------------------------------------------------------------------------------


def _by_pairs(lab: Lab, subject: Subject) -> Misaligned | None:
    met = meetings_of_rows(lab, subject) if subject.batch_size > 2 else []
    ways = _all_ways(lab, subject, met, 0, subject.batch_size)
    if ways is None:
        return None
    lower, higher = _operands(met[0]) or met[0].operands[:2]
    dealt = max(ways[1:], key=lambda value: abs(value - ways[0]))
    value = lab.value(subject)
    return Misaligned(subject, "pairs", met[0], lower, higher, value, ways[0], dealt, "", subject.batch_size)


def _all_ways(lab: Lab, subject: Subject, met: list[Event], axis: int, size: int) -> list[float] | None:
    """The values with the missing axes, and the targets moved on by 0, 1, ... along an axis.

    None where the value as written is neither their mean nor their sum (a nearest neighbour, a softmax over all pairs), and
    where a pair is made of two predictions or of two targets: then the pairs may be meant.
    """
    turned = _turned(lab, subject, met, axis, size) if met and size <= MOST else None
    if turned is None:
        return None
    before, ways = lab.value(subject), [_with(lab, subject, turned(shift)) for shift in range(size)]
    if not np.isfinite([before, *ways]).all() or not differs(max(ways), min(ways), terms=size * size):
        return None
    total, scale = float(np.sum(ways)), float(np.abs(ways).max())
    is_sum = not differs(before, total, terms=size * size, scale=scale * size)
    return ways if is_sum or not differs(before, total / size, terms=size * size, scale=scale) else None


def _turned(lab: Lab, subject: Subject, met: list[Event], axis: int, size: int) -> Callable[[int], Changes] | None:
    """What to change so that nothing meets so any more, by how far the targets are moved on.

    With an axis in its place, what comes after may lack its own: a weight beside a difference of targets and predictions.
    """
    shift = size // 3 + 1
    dealt = subject.changed(y_true=_rolled(subject.y_true, axis, shift))
    # Of each operand: whether the axis is missing there, and whether it is made of the targets alone.
    sides: dict[Place, tuple[bool, bool]] = {}
    for _ in range(ROUNDS):
        other = _traced(lab, dealt, _changes(sides, axis, 0))
        for event in met:
            operands = _operands(event)
            partner = next((one for one in other.events if _place(one) == _place(event)), None)
            if operands is None or partner is None:
                return None
            follows = []
            for operand in operands:
                moved = next(one for one in partner.operands if one.expression == operand.expression)
                given, dealt_to = lab.number(operand.value), lab.number(moved.value)
                target = np.array_equal(dealt_to, np.roll(given, shift, axis=axis)) and not np.array_equal(
                    dealt_to, given
                )
                follows.append(target)
                sides[_place(event, operand)] = operand is operands[0], target
            if sum(follows) != 1:
                return None
        met = list(broadcasts(_traced(lab, subject, _changes(sides, axis, 0)), size))
        if not met:
            return partial(_changes, sides, axis)
    return None


def _changes(sides: dict[Place, tuple[bool, bool]], axis: int, shift: int) -> Changes:
    return {
        place: partial(_changed, axis=axis, shift=shift if target else 0, missing=missing)
        for place, (missing, target) in sides.items()
    }


def _changed(value: Any, axis: int, shift: int, missing: bool) -> Any:
    moved = keras.ops.roll(value, shift, axis=axis) if shift else value
    return keras.ops.expand_dims(moved, -1) if missing else moved


def _rolled(data: Any, axis: int, shift: int) -> Any:
    def roll(leaf: Any) -> Any:
        return keras.ops.roll(leaf, shift, axis=axis)

    return keras.tree.map_structure(roll, data)


# A number of rows that hides it ---------------------------------------------------------------------------------------


def _by_size(lab: Lab, subject: Subject, event: Event) -> Misaligned | None:
    operands, size = _operands(event), subject.batch_size
    if operands is None:
        return None
    lower, higher = operands
    shape = tuple(int(n or 1) for n in shape_of(lower.value) or ())
    if len(shape) < 2 or shape[0] != size:
        return None
    rows = np.array([0, 0]) if size == 1 else np.arange(size - 1)
    more = subject.rows(rows)
    failed = lab.trace(more)
    if failed.error is None or failed.failed is None or _place(failed.failed) != _place(event):
        return None
    if set(shape[:-1]) == {1} and not _pairs_of_positions(lab, subject, len(shape) - 1, shape[-1]):
        return None
    changes: Changes = {_place(event, lower): partial(_changed, axis=0, shift=0, missing=True)}
    before, after = lab.value(subject), _with(lab, subject, changes)
    elsewhere = _with(lab, more, changes)
    terms = int(np.prod(shape)) * shape[-1]
    if not np.isfinite([before, after, elsewhere]).all() or not differs(before, after, terms=terms):
        return None
    if size == 1 and differs(after, elsewhere, terms=terms) and differs(2.0 * after, elsewhere, terms=terms):
        return None  # the same row twice: the mean is the same, the sum is doubled
    fails = in_words(failed.error)
    return Misaligned(subject, "size", event, lower, higher, before, after, float("nan"), fails, len(rows))


def _pairs_of_positions(lab: Lab, subject: Subject, axis: int, size: int) -> bool:
    """Whether the one axis of a single row meets itself by mistake: (1, T) and (1, T, 1) may be all pairs of points."""
    met = list(broadcasts(lab.trace(subject), size))
    return _all_ways(lab, subject, met, axis, size) is not None
