"""One-hot targets whose classes lie along another axis than the one along which the loss compares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.localize.shapes import shape_of
from lossproof.lab.predictions import tensor_like
from lossproof.lab.shape.coupling import perfect_predictions
from lossproof.lab.subject import LossSubject

CLEARLY = 0.1
"""A perfect model must cost less than this share of what it costs as written, once the classes lie on the last axis."""


@dataclass(frozen=True)
class ClassAxis:
    """A loss that is not smallest for perfect predictions, because its classes are not on the last axis."""

    subject: LossSubject
    axis: int
    """Along which the targets are one-hot."""
    shape: tuple[int, ...]
    sums: tuple[float, float]
    """The smallest and the largest sum of the targets along the last axis."""
    outputs: bool
    """Whether the predictions are probabilities along the last axis, and not along that of the classes."""
    before: float
    after: float
    """The loss of perfect predictions, and the same with the classes on the last axis."""


def class_axis(lab: Lab) -> ClassAxis | None:
    """The first loss whose one-hot targets lie along another axis than the last; None where they do no harm there."""
    for subject in lab.losses:
        found: ClassAxis | None = lab.attempt(partial(_class_axis, lab, subject))
        if found is not None:
            return found
    return None


def _class_axis(lab: Lab, subject: LossSubject) -> ClassAxis | None:
    shape = shape_of(subject.y_pred)
    if shape is None or len(shape) < 3 or shape_of(subject.y_true) != shape:
        return None
    target = lab.number(subject.y_true).astype("float64")
    axes = [axis for axis in range(1, target.ndim) if _one_hot_along(target, axis)]
    if len(axes) != 1 or axes[0] == target.ndim - 1:
        return None
    (axis,) = axes
    sums = target.sum(axis=-1)
    if sums.max() <= 1.0:
        return None  # no more than one class in each line: those with none may count for nothing
    bare = subject.changed(sample_weight=None)
    before, after = (_best(lab, one) for one in (bare, _moved(bare, axis)))
    if before is None or after is None or not 0.0 <= after < CLEARLY * before:
        return None
    given = lab.number(subject.y_pred).astype("float64")
    outputs = _sums_to_one(given, -1) and not _sums_to_one(given, axis)
    return ClassAxis(subject, axis, target.shape, (float(sums.min()), float(sums.max())), outputs, before, after)


def _one_hot_along(target: np.ndarray, axis: int) -> bool:
    return bool(target.shape[axis] > 1 and np.isin(target, (0.0, 1.0)).all() and (target.sum(axis=axis) == 1.0).all())


def _sums_to_one(given: np.ndarray, axis: int) -> bool:
    return bool((given >= 0.0).all() and np.allclose(given.sum(axis=axis), 1.0, atol=1e-2))  # half precision as well


def _moved(subject: LossSubject, axis: int) -> LossSubject:
    def move(tensor: Any) -> Any:
        return keras.ops.moveaxis(tensor, axis, -1)

    return subject.changed(y_true=move(subject.y_true), y_pred=move(subject.y_pred))


def _best(lab: Lab, subject: LossSubject) -> float | None:
    """The lowest loss of predictions that are perfect, as numbers, probabilities or logits; None where none is finite."""
    return min(_of_perfect(lab, subject), default=None)


def _of_perfect(lab: Lab, subject: LossSubject) -> Iterator[float]:
    for predictions in perfect_predictions(lab, subject):
        moved = subject.changed(y_pred=tensor_like(lab, predictions, subject.y_pred))
        value = lab.attempt(partial(lab.value, moved))
        if value is not None and np.isfinite(value):
            yield value
