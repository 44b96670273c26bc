"""Targets of one column against several outputs, or the reverse: what broadcasts along another axis than the batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.localize.shapes import shape_of, tensors
from lossproof.lab.noise import HALF_OF_THE_DIGITS, differs
from lossproof.lab.predictions import look_here, tensor_like
from lossproof.lab.subject import LossSubject, Subject, take


@dataclass(frozen=True)
class Spreading:
    """A subject in which one tensor is repeated along an axis to meet the other."""

    subject: Subject
    axis: int
    count: int
    """How often it is repeated."""
    targets_repeat: bool
    """Whether the targets are repeated (else the predictions)."""
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    """Of targets and predictions, as the function receives them."""
    before: float
    first: float
    """The value with the first of the outputs (or of the targets) alone."""
    reversed: float
    """The value with the outputs (or targets) in the reverse order."""
    event: Event | None


def spreading(lab: Lab, subject: Subject) -> Spreading | None:
    """Whether one target is compared with several outputs alike, or one output with several targets.

    Not so where the outputs have parts of their own (quantiles), where they act together (mixtures, the best of
    several), or where the function takes the target apart itself.
    """
    given = shape_of(subject.y_true), shape_of(subject.y_pred)
    if None in given or subject.batch_size < 2:
        return None
    shapes = _received(lab, subject)
    if shapes is None or len(shapes[0]) != len(shapes[1]) or shapes[0] == shapes[1]:
        return None
    unequal = [axis for axis, (a, b) in enumerate(zip(*shapes, strict=True)) if a != b]
    if len(unequal) != 1 or unequal[0] == 0 or min(shapes[0][unequal[0]], shapes[1][unequal[0]]) != 1:
        return None
    axis = unequal[0]
    targets_repeat = shapes[0][axis] == 1
    count = max(shapes[0][axis], shapes[1][axis])
    several = "y_pred" if targets_repeat else "y_true"
    several_shape = shape_of(getattr(subject, several)) or ()
    if len(several_shape) <= axis or several_shape[axis] != count or _is_constant(lab, subject, axis):
        return None
    bare = subject.changed(sample_weight=None) if isinstance(subject, LossSubject) else subject
    flipped = bare.changed(**{several: keras.ops.flip(getattr(bare, several), axis)})
    first = bare.changed(**{several: keras.ops.take(getattr(bare, several), np.array([0]), axis=axis)})
    values = [lab.attempt(partial(lab.value, one)) for one in (bare, _repeated(bare, axis, count), flipped, first)]
    if any(value is None or not np.isfinite(value) for value in values):
        return None
    before, same, reverse, alone = values
    terms = int(np.prod(lab.number(getattr(bare, several)).shape))
    if differs(before, same, terms=terms) or differs(before, reverse, terms=terms):
        return None
    rolled = bare.changed(y_true=take(bare.y_true, np.roll(np.arange(bare.batch_size), 1)))
    others = lab.attempt(partial(lab.value, rolled))
    if others is None or not differs(before, others, terms=terms):
        return None  # the targets play no part
    if targets_repeat and not (_each_for_itself(lab, bare, axis) or _better_alike(lab, bare, axis, count)):
        return None
    event = lab.attempt(lambda: _meeting(lab, subject, axis, count))
    return Spreading(subject, axis, count, targets_repeat, shapes, before, alone, reverse, event)


def _received(lab: Lab, subject: Subject) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The shapes of targets and predictions where the user's function receives them."""
    arguments: Any = (subject.y_true, subject.y_pred)
    if isinstance(subject, LossSubject):
        arguments = lab.attempt(lambda: subject.traceable()[1])
    if arguments is None or len(arguments) < 2:
        return None
    shapes = shape_of(arguments[0]), shape_of(arguments[1])
    known = [tuple(int(n) for n in shape if n is not None) for shape in shapes if shape is not None]
    return (known[0], known[1]) if len(known) == 2 else None


def _is_constant(lab: Lab, subject: Subject, axis: int) -> bool:
    """Whether all targets are the same, or all columns of them: then it makes no difference which meets which."""
    target = lab.number(subject.y_true)
    if target.size and (target == target.flat[0]).all():
        return True
    return bool(target.ndim > axis and target.shape[axis] > 1 and (target == target.take([0], axis=axis)).all())


def _repeated(subject: Subject, axis: int, count: int) -> Subject:
    """The same with the repetition written out."""

    def repeat(tensor: Any) -> Any:
        return keras.ops.repeat(tensor, count, axis=axis) if tensor.shape[axis] == 1 else tensor

    written: Subject
    if isinstance(subject, LossSubject):  # after Keras has aligned the ranks
        written = replace(subject, arriving=(*subject.arriving, repeat))
    else:
        written = subject.changed(y_true=repeat(subject.y_true))
    shape = shape_of(subject.y_pred) or ()
    return written.changed(y_pred=repeat(subject.y_pred)) if len(shape) > axis and shape[axis] == 1 else written


def _each_for_itself(lab: Lab, subject: Subject, axis: int) -> bool:
    """Whether each of several outputs has a gradient of its own, which the others do not change."""
    rows = np.roll(np.arange(subject.batch_size), 1)
    pred = subject.y_pred
    others = keras.ops.concatenate(
        [
            keras.ops.take(pred, np.array([0]), axis=axis),
            keras.ops.take(keras.ops.take(pred, rows, axis=0), np.arange(1, pred.shape[axis]), axis=axis),
        ],
        axis=axis,
    )
    points = [lab.attempt(partial(look_here, lab, one)) for one in (subject, subject.changed(y_pred=others))]
    if any(point is None or point.gradients[0] is None for point in points):
        return False
    a, b = (np.asarray(point.gradients[0]).take(0, axis=axis) for point in points)
    return bool(a.any() and np.linalg.norm(a - b) <= HALF_OF_THE_DIGITS * np.linalg.norm(a))


def _better_alike(lab: Lab, subject: Subject, axis: int, count: int) -> bool:
    """Whether outputs that act together (the length of their error) are best alike, as those of an ensemble are not.

    Tried on outputs that differ among themselves: as captured, and spread over the targets as an ensemble would be. Each
    time all of them are set to their mean, which must be better.
    """
    given, target = lab.number(subject.y_pred), lab.number(subject.y_true)
    levels = np.quantile(target.astype("float64"), (np.arange(count) + 0.5) / count)
    spread = np.broadcast_to(np.expand_dims(levels, tuple(range(1, given.ndim - axis))), given.shape)
    for outputs in (given, spread):
        alike = np.broadcast_to(outputs.mean(axis=axis, keepdims=True), given.shape)
        moved = [subject.changed(y_pred=tensor_like(lab, one, subject.y_pred)) for one in (outputs, alike)]
        values = [lab.attempt(partial(lab.value, one)) for one in moved]
        if any(value is None or not np.isfinite(value) for value in values):
            return False
        apart, tied = values
        if not tied < apart or not differs(apart, tied, terms=given.size):
            return False
    return True


def _meeting(lab: Lab, subject: Subject, axis: int, count: int) -> Event | None:
    """The first expression of the user's code in which one meets several along the axis."""
    for event in lab.trace(subject).events:
        sizes = set()
        for operand in event.operands:
            for tensor in tensors(operand.value):
                shape = shape_of(tensor) or ()
                if len(shape) > axis and shape[0] == subject.batch_size:
                    sizes.add(shape[axis])
        value = shape_of(event.value) or ()
        if event.kind in ("binop", "call") and sizes == {1, count} and len(value) > axis and value[axis] == count:
            return event
    return None
