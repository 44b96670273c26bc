"""Losses that reduce over the batch axis and keep another: the same function with the two axes exchanged."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.listen import listening
from lossproof.lab.localize.shapes import shape_of
from lossproof.lab.noise import HALF_OF_THE_DIGITS
from lossproof.lab.predictions import tensor_like
from lossproof.lab.shape.coupling import perfect_predictions
from lossproof.lab.subject import LossSubject
from lossproof.lab.subjects import loss_subject


@dataclass(frozen=True)
class WrongAxis:
    """A loss that gives a value for each feature, and its values with the axes exchanged."""

    subject: LossSubject
    axis: int
    """The axis that is kept."""
    returned: tuple[int, ...]
    """The shape that the function returns."""
    meant: tuple[int, ...]
    """The shape that it returns with the axes exchanged."""
    before: float
    after: float
    """The mean of what it returns, and with the axes exchanged; with the sample weights, where there are any."""
    twice: float
    """The mean of what it returns for a batch that holds the same rows twice, without weights."""
    weighted: bool
    """Whether sample weights act on `before` and `after`."""


def losses_with_values(lab: Lab) -> tuple[LossSubject, ...]:
    """The losses of the objective; where sample weights make them fail, those heard without the weights."""
    if lab.capture.error is None:
        return lab.losses
    with listening() as hearing, suppress(Exception):  # whatever else fails
        lab.compiled.attempt({"sample_weight": None, "class_weight": None}, with_metrics=False)
    heard = [one for one in hearing.losses if one.result is not None and one.sample_weight is None]
    return tuple(loss_subject(one, None, None) for one in heard)


def wrong_axis(lab: Lab, subject: LossSubject) -> WrongAxis | None:
    """The same loss with the batch axis in the place of another one, if it reduces over the batch and keeps that one.

    Left out is what describes the batch as a whole, such as one F1 or one correlation for each feature: there, rows
    that are predicted perfectly count, and which ones they are. In a sum of errors they do not.
    """
    y_true, y_pred = subject.y_true, subject.y_pred
    shape, size = shape_of(y_pred), subject.batch_size
    if size < 4 or shape is None or len(shape) < 2 or shape_of(y_true) != shape:
        return None
    bare = subject.changed(sample_weight=None)
    whole = lab.attempt(lambda: lab.unreduced(bare))
    half = lab.attempt(lambda: lab.unreduced(bare.rows(np.arange(size // 2))))
    if whole is None or half is None or whole.ndim == 0 or whole.shape != half.shape or not np.isfinite(whole).all():
        return None
    for axis in range(len(shape) - 1, 0, -1):
        if whole.shape[-1] != shape[axis]:
            continue
        turned = lab.attempt(lambda: lab.unreduced(_turned(bare, axis)))  # noqa: B023 - called here
        smaller = lab.attempt(lambda: lab.unreduced(_turned(bare.rows(np.arange(size // 2)), axis)))  # noqa: B023
        if turned is None or smaller is None or turned.ndim != whole.ndim or not np.isfinite(turned).all():
            continue
        follows = [a == size and b == size // 2 for a, b in zip(turned.shape, smaller.shape, strict=True)]
        if sum(follows) == 1 and _adds_up_errors(lab, bare):
            twice = lab.unreduced(bare.rows(np.tile(np.arange(size), 2)))
            before, after, twofold = (float(np.mean(values)) for values in (whole, turned, twice))
            weighted = _weighted(lab, subject, whole, turned, follows.index(True))
            if weighted is not None:
                before, after = weighted
            return WrongAxis(subject, axis, whole.shape, turned.shape, before, after, twofold, weighted is not None)
    return None


def _weighted(
    lab: Lab, subject: LossSubject, whole: np.ndarray, turned: np.ndarray, rows: int
) -> tuple[float, float] | None:
    """The weighted means of a single value for the batch, as Keras takes it, and of one per sample."""
    if subject.sample_weight is None or whole.size != 1:
        return None
    weights = lab.number(subject.sample_weight).reshape(subject.batch_size, -1).mean(axis=1)
    each = np.moveaxis(turned, rows, 0).reshape(subject.batch_size, -1).mean(axis=1)
    return lab.value(subject), float(np.mean(each * weights))


def _turned(subject: LossSubject, axis: int) -> LossSubject:
    def turn(tensor: Any) -> Any:
        return keras.ops.swapaxes(tensor, 0, axis)

    return subject.changed(y_true=turn(subject.y_true), y_pred=turn(subject.y_pred))


def _adds_up_errors(lab: Lab, subject: LossSubject) -> bool:
    """Whether it makes no difference which other rows are there, as long as these are predicted perfectly."""
    rows = subject.batch_size // 4
    a, b, c = (np.arange(i, 4 * rows, 4) for i in range(3))
    with_b, with_c = np.concatenate([a, b]), np.concatenate([a, c])
    written = [lab.unreduced(subject.rows(index)) for index in (with_b, with_c)]
    if not all(np.isfinite(values).all() for values in written):
        return False
    for perfect in perfect_predictions(lab, subject):
        mixed = lab.number(subject.y_pred).copy()
        mixed[np.concatenate([b, c])] = perfect[np.concatenate([b, c])]
        other = subject.changed(y_pred=tensor_like(lab, mixed, subject.y_pred))
        first, second = (lab.unreduced(other.rows(index)) for index in (with_b, with_c))
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            continue
        scale = max(float(np.abs(values).max()) for values in (*written, first, second))
        apart = float(np.abs(written[0] - written[1]).max())
        if float(np.abs(first - second).max()) <= max(HALF_OF_THE_DIGITS * scale, 0.01 * apart) < apart:
            return True
    return False
