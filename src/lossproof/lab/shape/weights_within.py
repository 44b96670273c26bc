"""Sample weights that differ within a row, and losses that have reduced the axis along which they do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.localize.shapes import shape_of
from lossproof.lab.noise import differs
from lossproof.lab.subject import LossSubject


@dataclass(frozen=True)
class WeightsWithin:
    """A loss on which it makes no difference which position of a row has which weight."""

    subject: LossSubject
    axis: int
    """The axis of the weights along which they cannot act."""
    count: int
    """Its length."""
    returned: tuple[int, ...]
    """The shape that the function returns."""
    before: float
    dealt: float
    """With the weights dealt to other positions of the same rows: the same."""
    after: float
    after_dealt: float
    """Both again, with each position as a sample of its own."""
    event: Event | None
    """The expression that gives up the axis."""


def weights_within(lab: Lab, subject: LossSubject) -> WeightsWithin | None:
    """The proof for one loss; None where weights act, or are the same all over a row.

    The positions of a row are cut into samples of one position, each with its own weight, and the objective is evaluated
    again, by Keras: there it makes a difference which weight stands where. The positions must be alike for the loss, as
    those of a mean are: a distance between sequences, which depends on their order, says nothing of a position alone.
    """
    weights, y_true, y_pred = subject.sample_weight, subject.y_true, subject.y_pred
    given, shapes = shape_of(weights), (shape_of(y_true), shape_of(y_pred))
    if given is None or None in shapes or subject.batch_size < 2 or keras_private.mask_of(y_pred) is not None:
        return None
    rank = len(given) - (len(given) > 2 and given[-1] == 1)
    for axis in range(1, rank):
        if given[axis] == 1 or any(shape[: axis + 1] != given[: axis + 1] for shape in shapes if shape is not None):
            continue
        found: WeightsWithin | None = lab.attempt(partial(_along, lab, subject, axis))
        if found is not None:
            return found
    return None


def _along(lab: Lab, subject: LossSubject, axis: int) -> WeightsWithin | None:
    ordered = np.sort(lab.number(subject.sample_weight), axis=axis)
    if np.array_equal(ordered, ordered.take([0], axis=axis).repeat(ordered.shape[axis], axis=axis)):
        return None  # each position has the weight of its row
    dealt = subject.changed(sample_weight=_reordered(subject.sample_weight, axis))
    apart, apart_dealt = _cut(subject, axis), _cut(dealt, axis)
    bare = subject.changed(sample_weight=None)
    turned = bare.changed(y_true=_reordered(bare.y_true, axis), y_pred=_reordered(bare.y_pred, axis))
    before, moved, after, after_moved = (lab.value(one) for one in (subject, dealt, apart, apart_dealt))
    terms = int(np.prod(lab.number(subject.y_pred).shape))
    if not np.isfinite([before, moved, after, after_moved]).all() or differs(before, moved, terms=terms):
        return None
    if not differs(after, after_moved, terms=terms) or differs(lab.value(bare), lab.value(turned), terms=terms):
        return None
    event = lab.attempt(partial(_reduction, lab, subject, axis))
    returned = lab.unreduced(bare).shape
    return WeightsWithin(subject, axis, ordered.shape[axis], returned, before, moved, after, after_moved, event)


def _reordered(tensor: Any, axis: int) -> Any:
    """Moved on by a part of the axis that is no symmetry of most data."""
    count = int(tensor.shape[axis])
    return keras.ops.roll(tensor, count // 3 or 1, axis=axis)


def _cut(subject: LossSubject, axis: int) -> LossSubject:
    """Each position along the axis as a sample of its own."""

    def cut(tensor: Any) -> Any:
        moved = keras.ops.moveaxis(tensor, axis, 1)
        shape = [int(n) for n in moved.shape]
        flat = keras.ops.reshape(moved, (shape[0] * shape[1], 1, *shape[2:]))
        return keras.ops.moveaxis(flat, 1, axis)

    y_true, y_pred, weights = (cut(one) for one in (subject.y_true, subject.y_pred, subject.sample_weight))
    return subject.changed(y_true=y_true, y_pred=y_pred, sample_weight=weights)


def _reduction(lab: Lab, subject: LossSubject, axis: int) -> Event | None:
    """The first expression of the user's code that has lost the axis though an operand has it."""
    start = shape_of(subject.sample_weight)
    if start is None:
        return None
    start = start[: axis + 1]
    for event in lab.trace(subject).events:
        value = shape_of(event.value)
        held = any((shape_of(operand.value) or ())[: axis + 1] == start for operand in event.operands)
        if event.kind in ("call", "binop") and value is not None and value[: axis + 1] != start and held:
            return event
    return None
