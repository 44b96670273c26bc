"""What becomes of an output that is a loss already, on its way through a compiled loss that ignores the targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs
from lossproof.lab.predictions import float_leaves, look, tensor_like, with_float_leaves
from lossproof.lab.subject import LossSubject

Kind = Literal["bent", "partial", "erased"]


@dataclass(frozen=True)
class Passing:
    """A compiled loss that is fed one value per sample and does not hand on their mean."""

    subject: LossSubject
    kind: Kind
    """`bent`: a function of their sum that is not their mean; `partial`: some samples have no part in it; `erased`: the
    dummy targets make it constant."""
    before: float
    mean: float
    quadruple: float
    """The loss of the same batch taken four times over; of a mean it is the same."""
    doubled: float
    """The loss with every output twice as large."""
    acting: int
    count: int


def passing(lab: Lab) -> list[Passing]:
    """The compiled losses that go wrong so."""
    found = []
    for subject in lab.losses:
        one = lab.attempt(partial(_passing, lab, subject))
        if one is not None:
            found.append(one)
    return found


def _passing(lab: Lab, subject: LossSubject) -> Passing | None:
    leaves = float_leaves(lab, subject)
    targets = keras.tree.flatten(subject.y_true)
    if len(leaves) != 1 or len(targets) != 1 or not hasattr(targets[0], "shape"):
        return None
    given, target = lab.number(leaves[0]), lab.number(targets[0])
    size = given.shape[0] if given.ndim else 0
    if size < 4 or given.size != size or subject.sample_weight is not None or target.dtype.kind not in "fiub":
        return None
    if (given < 0.0).any() or not np.isfinite(given).all() or np.ptp(given) == 0.0:
        return None  # a loss is not negative, and differs between samples

    def at(values: np.ndarray, labels: np.ndarray | None = None) -> float:
        one = with_float_leaves(lab, subject, [tensor_like(lab, values, leaves[0])])
        if labels is not None:
            dtype = keras.backend.standardize_dtype(targets[0].dtype)
            tensor = lab.backend.tensor(labels.astype("float64"), dtype=dtype)
            one = one.changed(y_true=keras.tree.pack_sequence_as(subject.y_true, [tensor]))
        return lab.value(one)

    before, mean = at(given), float(given.mean())
    if not np.isfinite(before):
        return None
    random = np.random.default_rng(0)
    drawn = random.uniform(0.5, 2.0, size=target.shape)
    ignored = not differs(before, at(given, drawn.round() if target.dtype.kind != "f" else drawn), terms=size)

    def found(kind: Kind, acting: int) -> Passing:
        four = subject.rows(np.tile(np.arange(size), 4))
        return Passing(subject, kind, before, mean, lab.value(four), at(2.0 * given), acting, size)

    if not ignored:
        return found("erased", 0) if _erased(lab, subject, given, target, at) else None
    point = look(lab, subject, [given])
    gradient = point.gradients[0]
    if gradient is None or not np.isfinite(gradient).all():
        return None
    acting = int(np.count_nonzero(gradient))
    shuffled = given[random.permutation(size)]
    if not differs(before, at(shuffled), terms=size):
        one = found("bent", acting)
        # A function of their mean, such as its distance from a rate that is aimed at, may well be meant.
        return one if _bent(given, before, at) and differs(before, one.quadruple, terms=4 * size) else None
    # The order of the samples matters. Where only some of them have a gradient, the others are not trained.
    fixed = np.flatnonzero(gradient.reshape(-1))
    again = look(lab, subject, [shuffled]).gradients[0]
    if again is None or not 0 < acting < size or not np.array_equal(fixed, np.flatnonzero(again.reshape(-1))):
        return None
    return found("partial", acting)


def _erased(lab: Lab, subject: LossSubject, given: np.ndarray, target: np.ndarray, at: Callable[..., float]) -> bool:
    """Whether the targets, all nought, multiply the outputs away: with ones, the loss is their mean."""
    if target.any():
        return False
    point = look(lab, subject, [given])
    gradient = point.gradients[0]
    dark = gradient is None or not gradient.any()
    ones = at(given, np.ones_like(target, dtype="float64"))
    return dark and not differs(ones, float(given.mean()), terms=given.size)


def _bent(given: np.ndarray, before: float, at: Callable[[np.ndarray], float]) -> bool:
    """Whether the loss is a function of the outputs' sum alone, and not proportional to it."""
    size = given.size
    shift = np.zeros_like(given)
    flat, half = shift.reshape(-1), float(np.ptp(given)) / 2.0
    flat[int(np.argmin(given))], flat[int(np.argmax(given))] = half, -half
    evened = np.full_like(given, given.mean())
    if differs(before, at(given + shift), terms=size) or differs(before, at(evened), terms=size):
        return False
    return differs(at(2.0 * given), 2.0 * before, terms=size) and differs(at(4.0 * given), 4.0 * before, terms=size)
