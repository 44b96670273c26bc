"""Predictions moved about: what a loss makes of them, and the proof that its minimum is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs, rounding
from lossproof.lab.predictions import float_leaves, look, tensor_like, with_predictions
from lossproof.lab.subject import Subject

Way = Literal["negated", "elsewhere", "swapped", "logged"]


FEWEST_ROWS = 4


ADDED = 1e-4
"""How much of what a loss can change by the small numbers may make up that people add against zeros."""


TURNED = 0.05
"""What a gradient that vanishes at the minimum may still have of its size elsewhere, by rounding and small additions."""


@dataclass(frozen=True)
class Direction:
    """The proof that a subject's minimum is not at its targets."""

    way: Way
    perfect: float
    """The value with predictions on the targets."""
    away: float
    """The value of predictions that do not follow the targets."""
    how: str
    """Which ones."""
    distance: float
    """Their root mean square distance from the targets."""
    constant: bool
    """Whether all perfect predictions have the same value, whatever the targets."""
    other: tuple[float, float] | None = None
    """Both values with the sign turned, or with the arguments exchanged."""
    step: tuple[tuple[float, float], tuple[float, float]] | None = None
    """Value and distance from the targets of the captured predictions, and one small gradient step later."""
    column: str | None = None
    """Which of the numbers per sample was moved, where the predictions have more of them than the targets."""


@dataclass(frozen=True)
class Scene:
    """One prediction tensor of a subject with what would be perfect for it; the other tensors stay as they are."""

    lab: Lab
    subject: Subject
    leaf: int
    here: np.ndarray
    right: np.ndarray
    simplex: bool
    ids: bool
    length: float | None = None
    """That of all predictions along the last axis, where the output normalises them."""
    note: str = ""
    read: Callable[[np.ndarray], np.ndarray] | None = None
    """What the output gives for these predictions, where they are not the output itself: logits for probabilities."""

    def value(self, predictions: np.ndarray, targets: np.ndarray | None = None) -> float:
        """The subject's value with other predictions, and other targets; NaN where the user's code refuses them."""

        def measured() -> float:
            return self.lab.value(self._at(predictions, targets))

        found = self.lab.attempt(measured)
        return np.nan if found is None else found

    def exchanged(self, predictions: np.ndarray, targets: np.ndarray) -> float:
        """The value with targets in the place of predictions and the reverse."""
        return replace(self, read=None).value(targets, self._given(predictions))

    def gradient(self, predictions: np.ndarray, targets: np.ndarray, exchanged: bool = False) -> np.ndarray | None:
        """The gradient for the predictions, within what the output can do."""
        lab = self.lab
        if not exchanged:
            point = lab.attempt(lambda: look(lab, self._at(predictions, targets), self.leaves(predictions)))
            gradient = point.gradients[self.leaf] if point is not None else None
        else:
            like = float_leaves(lab, self.subject)[self.leaf]

            def total(moved: object) -> object:
                at = with_predictions(lab, self.subject, replace(self, read=None).leaves(targets))
                shape = keras.tree.flatten(self.subject.y_true)[self.leaf].shape
                return at.changed(y_true=keras.ops.reshape(moved, shape)).total()

            def experiment() -> np.ndarray | None:
                with lab.undisturbed():
                    _, (found,) = lab.backend.gradient(total, [tensor_like(lab, self._given(predictions), like)])
                return None if found is None else lab.number(found)

            gradient = lab.attempt(experiment)
        if gradient is None or not np.isfinite(gradient).all():
            return None
        within: np.ndarray = gradient - gradient.mean(axis=-1, keepdims=True) if self.simplex else gradient
        return within

    def _at(self, predictions: np.ndarray, targets: np.ndarray | None) -> Subject:
        moved = with_predictions(self.lab, self.subject, self.leaves(predictions))
        return moved if targets is None else moved.changed(y_true=self.with_targets(targets).y_true)

    def with_targets(self, targets: np.ndarray) -> Subject:
        """The subject with other targets for this tensor, shaped as they were."""
        flat = keras.tree.flatten(self.subject.y_true)
        like = flat[self.leaf]
        flat[self.leaf] = self.lab.backend.tensor(targets.reshape(tuple(like.shape)).astype("float32"))
        return self.subject.changed(y_true=keras.tree.pack_sequence_as(self.subject.y_true, flat))

    def leaves(self, predictions: np.ndarray) -> list[np.ndarray]:
        leaves = [self.lab.number(leaf) for leaf in float_leaves(self.lab, self.subject)]
        leaves[self.leaf] = self._given(predictions)
        return leaves

    def _given(self, predictions: np.ndarray) -> np.ndarray:
        return predictions if self.read is None else self.read(predictions)

    def lower(self, a: float, b: float) -> bool:
        """Whether `a` is lower than `b` by more than rounding explains."""
        return bool(np.isfinite(a) and np.isfinite(b) and a < b and differs(a, b, terms=self.here.size))

    def distance(self, predictions: np.ndarray) -> float:
        """From the targets, root mean square."""
        return float(np.sqrt(np.mean((predictions - self.right) ** 2)))


def scenes(lab: Lab, subject: Subject) -> Iterator[Scene]:
    """One for each prediction tensor of which the targets say what would be perfect."""
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    targets = [lab.number(leaf) for leaf in keras.tree.flatten(subject.y_true) if lab.backend.is_tensor(leaf)]
    if len(leaves) != len(targets) or len(keras.tree.flatten(subject.y_true)) != len(targets):
        return
    for i, (here, target) in enumerate(zip(leaves, targets, strict=True)):
        if target.dtype.kind not in "fiub" or not here.ndim or len(here) < FEWEST_ROWS or not np.isfinite(here).all():
            continue
        simplex = on_simplex(here)
        ids = target.size != here.size
        right = _one_hot(target, here.shape) if ids and here.ndim > 1 else target.astype("float64")
        if right is None or right.size != here.size or not np.isfinite(right).all():
            continue
        right = right.reshape(here.shape)
        if (right == right[:1]).all():
            continue  # nothing to follow
        if simplex and not on_simplex(right):
            continue
        lengths = [_one_length(here), _one_length(right)]
        if lengths[0] is not None and (lengths[1] is None or differs(lengths[0], lengths[1], terms=here.size)):
            continue  # no prediction can be right
        yield Scene(lab, subject, i, here, right, simplex, ids, length=lengths[0])


def on_simplex(values: np.ndarray) -> bool:
    """Whether the last axis holds parts of a whole."""
    if values.ndim < 2 or values.shape[-1] < 2 or values.min() < 0.0:
        return False
    return bool(np.abs(values.sum(axis=-1) - 1.0).max() <= rounding("float32", 1.0, values.shape[-1]))


def _one_length(values: np.ndarray) -> float | None:
    """The length of all vectors along the last axis, where it is the same: what the output normalises."""
    if values.ndim < 2 or values.shape[-1] < 2:
        return None
    lengths = norms(values)
    longest = float(lengths.max())
    return longest if np.ptp(lengths) <= 4.0 * rounding("float32", longest, values.size) and longest else None


def norms(values: np.ndarray) -> np.ndarray:
    """The lengths of the vectors along the last axis."""
    found: np.ndarray = np.sqrt(np.sum(values**2, axis=-1))
    return found


def _one_hot(target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    if target.size * shape[-1] != int(np.prod(shape)):
        return None
    classes = target.reshape(shape[:-1])
    if not ((classes >= 0) & (classes < shape[-1]) & (classes == np.floor(classes))).all():
        return None
    hot: np.ndarray = (np.arange(shape[-1]) == classes[..., None]).astype("float64")
    return hot


def step(scene: Scene) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Value and distance as captured, and one small step down the gradient later."""
    point = scene.lab.attempt(lambda: look(scene.lab, scene.subject, scene.leaves(scene.here)))
    gradient = point.gradients[scene.leaf] if point is not None else None
    if gradient is None or not np.isfinite(gradient).all() or not gradient.any():
        return None
    spread = float(scene.right.std()) or 1.0
    moved = scene.here - 0.01 * spread * gradient / float(np.sqrt(np.mean(gradient**2)))
    after = scene.value(moved)
    if not scene.lower(after, scene.value(scene.here)):
        return None
    return (scene.value(scene.here), scene.distance(scene.here)), (after, scene.distance(moved))
