"""Losses of one value per sample that normalise each feature over the samples: an axis taken for another."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.localize.shapes import shape_of
from lossproof.lab.noise import HALF_OF_THE_DIGITS, differs
from lossproof.lab.predictions import look_here, tensor_like
from lossproof.lab.subject import LossSubject, Subject

MOVED = 0.25
"""By how much the mean must change with every sample twice: a softmax over B samples goes to about a half, what is estimated
from them with B - 1 in the place of B moves by the (2 B)-th part."""


def over_batch(lab: Lab, subject: Subject) -> float | None:
    """The loss with samples and features exchanged, sample by sample, of a loss that has taken the one for the other.

    The total is then a sum over features, and not over samples: what a score gets depends on the same feature of the other
    samples only. A number added to one feature of all samples changes nothing, one added to all features of a sample does:
    so it is the samples that compete. With every sample twice the mean is another one, so it is no property of the data,
    such as a correlation of each feature. And yet there is one value for each sample, added up over its features.

    Returns:
        None for all else; also where there are as many features as samples: scores of all pairs may be normalised either
        way.
    """
    shape, size = shape_of(subject.y_pred), subject.batch_size
    if not isinstance(subject, LossSubject) or shape is None or len(shape) != 2 or shape_of(subject.y_true) != shape:
        return None
    if shape[1] is None or shape[1] < 2 or shape[1] == size or size < 4:
        return None
    found: float | None = lab.attempt(partial(_exchanged, lab, subject.changed(sample_weight=None), shape[1]))
    return found


def _exchanged(lab: Lab, subject: LossSubject, features: int) -> float | None:
    size = subject.batch_size
    whole, half = lab.unreduced(subject), lab.unreduced(subject.rows(np.arange(size // 2)))
    if whole.shape[:1] != (size,) or half.shape[:1] != (size // 2,) or whole.size != size:
        return None
    value, twice = float(whole.mean()), float(lab.unreduced(subject.rows(np.tile(np.arange(size), 2))).mean())
    if not np.isfinite([value, twice]).all() or abs(twice - value) <= MOVED * abs(value):
        return None
    if not _samples_compete(lab, subject, value) or not all(_alone(lab, subject, one) for one in (0, features - 1)):
        return None
    each = [_of_sample(lab, subject, row, features) for row in range(size)]
    return float(np.mean(each)) if np.isfinite(each).all() and differs(value, float(np.mean(each))) else None


def _samples_compete(lab: Lab, subject: LossSubject, value: float) -> bool:
    given, random = lab.number(subject.y_pred), np.random.default_rng(0)
    spread = float(np.std(given)) or 1.0
    moved = []
    for count in ((1, given.shape[1]), (len(given), 1)):
        by = random.uniform(-spread, spread, size=count)
        other = subject.changed(y_pred=tensor_like(lab, given + by, subject.y_pred))
        moved.append(abs(float(lab.unreduced(other).mean()) - value))
    per_feature, per_sample = moved
    return bool(per_feature <= HALF_OF_THE_DIGITS * max(abs(value), per_sample) < 0.01 * per_sample)


def _alone(lab: Lab, subject: LossSubject, feature: int) -> bool:
    """Whether the gradient for a feature does not change with the other features, and does with its own."""

    def dealt(tensor: Any, others: bool) -> Any:
        array = lab.number(tensor)
        moved = np.roll(array, len(array) // 3 + 1, axis=0)
        kept = np.arange(array.shape[1]) == feature
        return tensor_like(lab, np.where(kept == others, array, moved), tensor)

    def slope(one: LossSubject) -> np.ndarray | None:
        gradient = look_here(lab, one).gradients[0]
        return None if gradient is None else np.asarray(gradient)[:, feature]

    others, own = (
        subject.changed(y_true=dealt(subject.y_true, o), y_pred=dealt(subject.y_pred, o)) for o in (True, False)
    )
    given, with_others, with_own = (slope(one) for one in (subject, others, own))
    if given is None or with_others is None or with_own is None or not given.any():
        return False
    apart = [float(np.linalg.norm(given - one)) for one in (with_others, with_own)]
    return apart[0] <= HALF_OF_THE_DIGITS * float(np.linalg.norm(given)) < apart[1]


def _of_sample(lab: Lab, subject: LossSubject, row: int, features: int) -> float:
    """One sample's loss: as many copies as it has features, so that sums and means over either axis are of as many."""
    copies = subject.rows(np.full(features, row))
    turned = copies.changed(y_true=keras.ops.transpose(copies.y_true), y_pred=keras.ops.transpose(copies.y_pred))
    return float(lab.unreduced(turned).mean())
