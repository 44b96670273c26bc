"""Where an objective has its minimum: at the targets, or where predictions leave them.

A loss that compares predictions with targets says so itself: it has the same value for every perfect prediction,
whatever the targets are. That such a value is not the lowest, that the lowest is reached by predictions which do not
follow the targets at all, is what makes it wrong. A loss whose minimum lies elsewhere by design (smoothed labels, logits,
rates, margins, distances of pairs) has no such common value, or keeps to its targets on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Literal

import keras
import numpy as np

from lossproof.lab.bounds import bounds_of
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs, rounding
from lossproof.lab.predictions import float_leaves, look, tensor_like, with_float_leaves
from lossproof.lab.subject import LossSubject, Subject

Way = Literal["negated", "elsewhere", "swapped", "logged"]

FEWEST_ROWS = 4
ADDED = 1e-4
"""How much of what a loss can change by the small numbers may make up that people add against zeros."""
SURE = 1e-6
"""How near a probability comes to 0 or 1 where it is read as a logit."""
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
        return self.value(targets, predictions)

    def gradient(self, predictions: np.ndarray, targets: np.ndarray, exchanged: bool = False) -> np.ndarray | None:
        """The gradient for the predictions, within what the output can do."""
        lab = self.lab
        if not exchanged:
            point = lab.attempt(lambda: look(lab, self._at(predictions, targets), self.leaves(predictions)))
            gradient = point.gradients[self.leaf] if point is not None else None
        else:
            like = float_leaves(lab, self.subject)[self.leaf]

            def total(moved: object) -> object:
                at = self._at(targets, None)
                shape = keras.tree.flatten(self.subject.y_true)[self.leaf].shape
                return at.changed(y_true=keras.ops.reshape(moved, shape)).total()

            def experiment() -> np.ndarray | None:
                with lab.undisturbed():
                    _, (found,) = lab.backend.gradient(total, [tensor_like(lab, predictions, like)])
                return None if found is None else lab.number(found)

            gradient = lab.attempt(experiment)
        if gradient is None or not np.isfinite(gradient).all():
            return None
        within: np.ndarray = gradient - gradient.mean(axis=-1, keepdims=True) if self.simplex else gradient
        return within

    def _at(self, predictions: np.ndarray, targets: np.ndarray | None) -> Subject:
        lab, leaves = self.lab, self.leaves(predictions)
        originals = float_leaves(lab, self.subject)
        tensors = [tensor_like(lab, array, like) for array, like in zip(leaves, originals, strict=True)]
        moved = with_float_leaves(lab, self.subject, tensors)
        return moved if targets is None else moved.changed(y_true=self.with_targets(targets).y_true)

    def with_targets(self, targets: np.ndarray) -> Subject:
        """The subject with other targets for this tensor, shaped as they were."""
        flat = keras.tree.flatten(self.subject.y_true)
        like = flat[self.leaf]
        flat[self.leaf] = self.lab.backend.tensor(targets.reshape(tuple(like.shape)).astype("float32"))
        return self.subject.changed(y_true=keras.tree.pack_sequence_as(self.subject.y_true, flat))

    def leaves(self, predictions: np.ndarray) -> list[np.ndarray]:
        leaves = [self.lab.number(leaf) for leaf in float_leaves(self.lab, self.subject)]
        leaves[self.leaf] = predictions if self.read is None else self.read(predictions)
        return leaves

    def lower(self, a: float, b: float) -> bool:
        """Whether `a` is lower than `b` by more than rounding explains."""
        return bool(np.isfinite(a) and np.isfinite(b) and a < b and differs(a, b, terms=self.here.size))

    def distance(self, predictions: np.ndarray) -> float:
        """From the targets, root mean square."""
        return float(np.sqrt(np.mean((predictions - self.right) ** 2)))


def direction(lab: Lab, subject: Subject) -> Direction | None:
    """The proof that a subject's minimum is not at its targets; None where it is, or where that cannot be told."""
    from lossproof.lab.gradient.logged import logged
    from lossproof.lab.gradient.upside_down import on_scores, peaked

    for scene in _scenes(lab, subject):
        as_they_are = scene.simplex or not scene.ids
        found = (_compared(scene) or _sharp(scene) or _swapped(scene) or logged(scene)) if as_they_are else None
        found = found or on_scores(scene) or peaked(scene)
        on_logits = _as_logits(scene) if found is None else None
        found = _sharp(on_logits) if on_logits is not None else found
        if found is not None:
            return found
    return _located(lab, subject)


def _scenes(lab: Lab, subject: Subject) -> Iterator[Scene]:
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    targets = [lab.number(leaf) for leaf in keras.tree.flatten(subject.y_true) if lab.backend.is_tensor(leaf)]
    if len(leaves) != len(targets) or len(keras.tree.flatten(subject.y_true)) != len(targets):
        return
    for i, (here, target) in enumerate(zip(leaves, targets, strict=True)):
        if target.dtype.kind not in "fiub" or not here.ndim or len(here) < FEWEST_ROWS or not np.isfinite(here).all():
            continue
        simplex = _on_simplex(here)
        ids = target.size != here.size
        right = _one_hot(target, here.shape) if ids and here.ndim > 1 else target.astype("float64")
        if right is None or right.size != here.size or not np.isfinite(right).all():
            continue
        right = right.reshape(here.shape)
        if (right == right[:1]).all():
            continue  # nothing to follow
        if simplex and not _on_simplex(right):
            continue
        lengths = [_one_length(here), _one_length(right)]
        if lengths[0] is not None and (lengths[1] is None or differs(lengths[0], lengths[1], terms=here.size)):
            continue  # no prediction can be right
        yield Scene(lab, subject, i, here, right, simplex, ids, length=lengths[0])


def _on_simplex(values: np.ndarray) -> bool:
    """Whether the last axis holds parts of a whole."""
    if values.ndim < 2 or values.shape[-1] < 2 or values.min() < 0.0:
        return False
    return bool(np.abs(values.sum(axis=-1) - 1.0).max() <= rounding("float32", 1.0, values.shape[-1]))


def _one_length(values: np.ndarray) -> float | None:
    """The length of all vectors along the last axis, where it is the same: what the output normalises."""
    if values.ndim < 2 or values.shape[-1] < 2:
        return None
    lengths = _lengths(values)
    longest = float(lengths.max())
    return longest if np.ptp(lengths) <= 4.0 * rounding("float32", longest, values.size) and longest else None


def _lengths(values: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.sqrt(np.sum(values**2, axis=-1))
    return lengths


def _one_hot(target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    if target.size * shape[-1] != int(np.prod(shape)):
        return None
    classes = target.reshape(shape[:-1])
    if not ((classes >= 0) & (classes < shape[-1]) & (classes == np.floor(classes))).all():
        return None
    hot: np.ndarray = (np.arange(shape[-1]) == classes[..., None]).astype("float64")
    return hot


# Predictions that do not follow the targets -----------------------------------------------------------------------


def _aimless(scene: Scene) -> Iterator[tuple[str, np.ndarray]]:
    """The same prediction for every row: within what the model predicts and what the targets are."""
    here, right = scene.here, scene.right

    def everywhere(row: np.ndarray) -> np.ndarray:
        return np.broadcast_to(row, right.shape).copy()

    sphere = scene.length is not None
    if not sphere:
        yield "the mean target for every row", everywhere(right.mean(axis=0))
    for k in (0, len(right) // 2):
        yield "one row's target for every row", everywhere(right[k])
    yield "one row's prediction for every row", everywhere(here[0])
    if not scene.simplex and not sphere:
        yield "the largest target for every row", everywhere(right.max(axis=0))
        yield "the smallest target for every row", everywhere(right.min(axis=0))


def _wrong(scene: Scene) -> tuple[float, str, np.ndarray] | None:
    """The best of the aimless predictions and those half or half again as large as right, else of other rows' targets."""
    others = list(_aimless(scene))
    if not scene.simplex and scene.length is None:
        others.append(("every prediction half of its target", 0.5 * scene.right))
        others.append(("every prediction half again as large as its target", 1.5 * scene.right))
    tried = [(scene.value(p), how, p) for how, p in others if not np.array_equal(p, scene.right)]
    tried = [one for one in tried if np.isfinite(one[0])]
    if not tried:
        other = np.roll(scene.right, 1, axis=0)
        tried = [(scene.value(other), "every row the target of another", other)]
    best = min(tried, key=lambda one: one[0])
    return best if np.isfinite(best[0]) else None


def _perfect_is_perfect(scene: Scene, perfect: float, gap: float, blends: bool) -> bool:
    """Whether predictions on the targets have the same value for other targets as well: other rows', and mixtures."""
    other = np.roll(scene.right, 1, axis=0)
    shares = (1.0, 0.5, 0.3) if blends else (1.0,)
    for share in shares:
        targets = scene.right + share * (other - scene.right)
        if scene.length is not None:
            targets *= scene.length / np.maximum(_lengths(targets)[..., None], 1e-12)
        value = scene.value(targets, targets)
        allowed = max(ADDED * gap, 2.0 * rounding("float32", max(abs(perfect), gap), targets.size))
        if not np.isfinite(value) or abs(value - perfect) > allowed:
            return False
    return True


def _perfect_elsewhere(scene: Scene, perfect: float, gap: float, away: np.ndarray) -> bool:
    """Whether predictions on their targets have the same value where the aimless ones are, if that is far off.

    Targets that lie close together (ids, times) say little about other targets.
    """
    right = scene.right
    spread = float(np.sqrt(np.mean((right - right.mean(axis=0)) ** 2)))
    if scene.simplex or scene.length is not None or spread >= 0.01 * scene.distance(away):
        return True
    half_way = 0.5 * (right + away)
    value = scene.value(half_way, half_way)
    return bool(np.isfinite(value)) and abs(value - perfect) <= ADDED * gap


def _compared(scene: Scene) -> Direction | None:
    """A loss by which all perfect predictions are equal, and predictions far from the targets are better."""
    if scene.ids:
        return None
    found = _below(scene)
    if found is not None or not np.isin(scene.right, (0.0, 1.0)).all():
        return found
    # On labels of 0 and 1 a divergence touches its end; what it does there shows off the ends.
    wrong = _wrong(scene)
    perfect = scene.value(scene.right)
    if wrong is None or not abs(wrong[0] - perfect) <= ADDED * _reach(scene, perfect):
        return None
    softened = 0.5 * (scene.right + np.roll(scene.right, 1, axis=0))
    return _below(
        replace(scene, right=softened, subject=scene.with_targets(softened), note="labels half way to others")
    )


def _below(scene: Scene) -> Direction | None:
    perfect, wrong = scene.value(scene.right), _wrong(scene)
    if wrong is None or not scene.lower(wrong[0], perfect):
        return None
    away, how, predictions = wrong
    gap = perfect - away
    if gap <= ADDED * _reach(scene, perfect) or not _perfect_is_perfect(scene, perfect, gap, blends=True):
        return None
    if not _perfect_elsewhere(scene, perfect, gap, predictions):
        return None
    # On the way to the targets a loss with a better place for each of them would find that place.
    way = [scene.value(predictions + t * (scene.right - predictions)) for t in (0.05, 0.5, 0.9)]
    if any(scene.lower(value, away) for value in way):
        return None
    nothing_worse = all(not scene.lower(perfect, scene.value(p)) for _, p in _around(scene))
    return Direction(
        way="negated" if nothing_worse else "elsewhere",
        perfect=perfect,
        away=away,
        how=how if not scene.note else f"{how}, with {scene.note}",
        distance=scene.distance(predictions),
        constant=True,
        other=(-perfect, -away) if nothing_worse else None,
        step=_step(scene),
    )


def _reach(scene: Scene, perfect: float) -> float:
    """How far values lie from that of perfect predictions."""
    values = [scene.value(p) for _, p in _around(scene)]
    return max((abs(value - perfect) for value in values if np.isfinite(value)), default=0.0)


def _around(scene: Scene) -> Iterator[tuple[str, np.ndarray]]:
    """Predictions of all sorts: without aim, of other rows, as captured, on the way, and past the targets."""
    yield from _aimless(scene)
    yield "as captured", scene.here
    for rows in (1, 2):
        yield "the targets of other rows", np.roll(scene.right, rows, axis=0)
    for t in (0.5, 0.9):
        yield "on the way", scene.here + t * (scene.right - scene.here)


# Scores on labels of 0 and 1 ----------------------------------------------------------------------------------------


def _sharp(scene: Scene) -> Direction | None:
    """A loss on labels of 0 and 1 by which perfect predictions are the worst of all.

    Labels may be meant the other way round (1 for pairs that are alike, predicted as distances; the class that a sample
    is not), where the same is right. Then each prediction is drawn to the opposite of its label. A score with its minus
    missing is told by one of two things: its mirror image is best at the frequencies of the labels, as likelihoods are;
    or it counts over many predictions at once, like an overlap.
    """
    right = scene.right
    if not np.isin(right, (0.0, 1.0)).all() or scene.here.min() < 0.0 or scene.here.max() > 1.0:
        return None
    perfect = scene.value(right)
    opposite = np.roll(right, 1, axis=-1) if scene.simplex else 1.0 - right
    middle = np.full_like(right, 1.0 / right.shape[-1] if scene.simplex else 0.5)
    for start in (opposite, middle, scene.here):
        way = [scene.value(start + t * (right - start)) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
        if not all(scene.lower(a, b) for a, b in pairwise(way[:4])) or scene.lower(way[4], way[3]):
            return None
    off = [scene.value(opposite + t * (right - opposite)) for t in (0.0, 0.01, 0.02)]
    if off[1] - off[0] < 0.8 * (off[2] - off[1]):
        return None  # level at the opposite of the labels: that is what it is for
    if any(scene.lower(perfect, scene.value(p)) for _, p in _around(scene)):
        return None
    away = scene.value(opposite)
    if not scene.ids and not _perfect_is_perfect(scene, perfect, perfect - away, blends=False):
        return None
    if not _worst_at_frequencies(scene) and not (_counted_together(scene) and _bounded(scene)):
        return None
    return Direction(
        way="negated",
        perfect=perfect,
        away=away,
        how="every prediction the opposite of its label",
        distance=scene.distance(opposite),
        constant=True,
        other=(-perfect, -away),
        step=_step(scene) if scene.read is None else None,
    )


def _as_logits(scene: Scene) -> Scene | None:
    """The same on the probabilities of which the predictions may be the logits, where the targets are labels."""
    here, right = scene.here, scene.right
    if not np.isin(right, (0.0, 1.0)).all() or (here.min() >= 0.0 and here.max() <= 1.0):
        return None
    if scene.ids or (right.ndim > 1 and right.shape[-1] > 1 and (right.sum(axis=-1) == 1.0).all()):
        shares = np.exp(here - here.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return replace(scene, here=shares, simplex=True, read=lambda p: np.log(np.clip(p, SURE, 1.0)))
    within = np.clip(here, -30.0, 30.0)
    return replace(scene, here=1.0 / (1.0 + np.exp(-within)), read=_logits)


def _logits(probabilities: np.ndarray) -> np.ndarray:
    p = np.clip(probabilities, SURE, 1.0 - SURE)
    logits: np.ndarray = np.log(p) - np.log1p(-p)
    return logits


def _worst_at_frequencies(scene: Scene) -> bool:
    """Whether, of predictions that are the same for all, the labels' frequencies are the worst nearby."""
    right = scene.right
    classes = right.shape[-1] if scene.simplex else 1
    share = _shares(scene, classes)
    if share is None or share.max() >= 1.0 or (share.min() <= 0.0 and not scene.simplex):
        return False
    here = scene.value(np.broadcast_to(share, right.shape).copy())
    for k in range(classes):
        for reach in (0.3, 0.6):
            if scene.simplex:
                corner = np.eye(classes)[k]
                steps = [sign * reach * share[k] for sign in (1.0, -1.0)] if share[k] else [reach / classes]
                moved = [share + step * (corner - share) for step in steps]
            else:
                moved = [share * (1.0 - reach), share + reach * (1.0 - share)]
            if not all(scene.lower(scene.value(np.broadcast_to(m, right.shape).copy()), here) for m in moved):
                return False
    return True


def _shares(scene: Scene, classes: int) -> np.ndarray | None:
    """The frequencies of the labels, each counted as strongly as the loss pulls at it where nothing is decided.

    Weights of samples and of classes enter there, whoever multiplies them in.
    """
    undecided = np.full_like(scene.right, 1.0 / classes if scene.simplex else 0.5)
    point = scene.lab.attempt(lambda: look(scene.lab, scene.subject, scene.leaves(undecided)))
    gradient = point.gradients[scene.leaf] if point is not None else None
    if gradient is None or not np.isfinite(gradient).all():
        return None
    if scene.simplex:
        pull = np.abs((gradient - gradient.mean(axis=-1, keepdims=True)) * scene.right).reshape(-1, classes).sum(axis=0)
    else:
        pull = np.abs(gradient[scene.right == 1.0]).sum()
    whole = pull.sum() if scene.simplex else np.abs(gradient).sum()
    return None if not whole else np.atleast_1d(pull / whole)


def _counted_together(scene: Scene) -> bool:
    """Whether the loss is no sum over the predictions: what half of them change depends on the other half."""
    cells = scene.right.shape[:-1] if scene.simplex else scene.right.shape
    if int(np.prod(cells)) < FEWEST_ROWS:
        return False
    half = np.random.default_rng(0).random(cells) < 0.5
    half = half[..., None] if scene.simplex else half
    start = np.full_like(scene.right, 1.0 / scene.right.shape[-1] if scene.simplex else 0.5)
    values = [scene.value(np.where(mask, scene.right, start)) for mask in (half & ~half, half, ~half, half | ~half)]
    together, apart = values[0] + values[3], values[1] + values[2]
    size = max(abs(value) for value in values)
    return bool(np.isfinite(values).all() and abs(together - apart) > 8.0 * rounding("float32", size, half.size))


def _bounded(scene: Scene) -> bool:
    """Whether 0 and 1 are the ends of what the output can do, so that no prediction lies beyond its label."""
    if scene.simplex:
        return True
    lab = scene.lab
    if lab.capture.model is None:
        return False
    found = lab.attempt(lambda: bounds_of(lab, scene.subject)[scene.leaf])
    return found is not None and found.size > 1 and bool(found.min() == 0.0 and found.max() == 1.0)


# Arguments in the wrong order ---------------------------------------------------------------------------------------


def _swapped(scene: Scene) -> Direction | None:
    """A loss that, with its arguments exchanged, has a minimum at the targets, and as written has none there."""
    if scene.ids or not isinstance(scene.subject, LossSubject):
        return None
    right = scene.right
    mean = np.broadcast_to(right.mean(axis=0), right.shape)
    targets = 0.5 * (right + mean)  # off the ends of their range
    others = [targets + 0.4 * (np.roll(targets, k, axis=0) - targets) for k in (1, 2, 3)] + [0.8 * targets + 0.2 * mean]
    best = scene.exchanged(targets, targets)
    if not all(scene.lower(best, scene.exchanged(p, targets)) for p in others):
        return None
    steep = [scene.gradient(p, targets, exchanged=True) for p in (targets, others[0])]
    written = [scene.gradient(p, targets) for p in (targets, others[0])]
    if any(one is None for one in (*steep, *written)):
        return None
    flat, slope, at_targets, elsewhere = (float(np.sqrt(np.mean(one**2))) for one in (*steep, *written))  # type: ignore[operator]
    if flat > TURNED * slope or at_targets <= TURNED * elsewhere:
        return None
    perfect = scene.value(targets, targets)
    beyond = [("the same predictions, farther from their mean", right)] if _inside(scene) else []
    tried = [(scene.value(p, targets), how, p) for how, p in (*beyond, *_aimless(scene))]
    tried = [one for one in tried if scene.lower(one[0], perfect)]
    if not tried:
        return None
    if _differs_by_a_penalty(scene, targets):
        return None
    away, how, predictions = min(tried, key=lambda one: one[0])
    return Direction(
        way="swapped",
        perfect=perfect,
        away=away,
        how=how,
        distance=float(np.sqrt(np.mean((predictions - targets) ** 2))),
        constant=False,
        other=(best, scene.exchanged(predictions, targets)),
        step=None,
    )


def _differs_by_a_penalty(scene: Scene, targets: np.ndarray) -> bool:
    """Whether the order of the arguments matters only for what is asked of the predictions alone.

    A symmetric distance with a penalty on the predictions, d(t, p) + r(p), has its minimum off the targets by design.
    Exchanged, it differs by r(p) - r(t), a sum of one part for each argument; a divergence does not.
    """

    def order(target: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
        written, exchanged = scene.value(prediction, target), scene.exchanged(prediction, target)
        return written - exchanged, max(abs(written), abs(exchanged))

    others = [np.roll(targets, k, axis=0) for k in (1, 2)]
    pairs = [order(t, p) for t in (targets, others[0]) for p in (0.7 * targets + 0.3 * others[0], others[1])]
    (same, crossed), size = (pairs[0][0] + pairs[3][0], pairs[1][0] + pairs[2][0]), max(one[1] for one in pairs)
    return not abs(same - crossed) > 8.0 * rounding("float32", size, scene.here.size)


def _inside(scene: Scene) -> bool:
    return bool(np.isfinite(scene.right).all())


# Targets among parameters of a distribution --------------------------------------------------------------------------


def _located(lab: Lab, subject: Subject) -> Direction | None:
    """A loss that is highest where one of several numbers per sample lies on its target: a likelihood, not negated."""
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    targets = [lab.number(leaf) for leaf in keras.tree.flatten(subject.y_true) if lab.backend.is_tensor(leaf)]
    if len(leaves) != 1 or len(targets) != 1 or targets[0].dtype.kind not in "fiub" or leaves[0].ndim < 2:
        return None
    if _on_simplex(leaves[0]):
        return None
    here, target = leaves[0], targets[0].astype("float64")
    rows, width = len(here), here.shape[-1]
    if rows < FEWEST_ROWS or not target.size or here.size <= target.size or here.size % target.size:
        return None
    each = target.size * width // here.size
    if not each or target.size != int(np.prod(here.shape[:-1])) * each or not np.isfinite(target).all():
        return None
    target = target.reshape((*here.shape[:-1], each))
    spread = float(target.std())
    if not spread:
        return None
    random = np.random.default_rng(0)
    signs = random.choice((-1.0, 1.0), size=target.shape) * random.uniform(0.5, 1.5, size=target.shape)
    for first in range(0, width - each + 1, each):
        columns = slice(first, first + each)
        scene = Scene(lab, subject, 0, here, _with(here, columns, target), False, ids=True)
        perfect = scene.value(scene.right)
        around = [
            (scene.value(moved), moved)
            for reach in (0.1, 0.5, 2.0)
            for sign in (1.0, -1.0)
            for moved in [_with(here, columns, target + sign * reach * spread * signs)]
        ]
        if all(scene.lower(value, perfect) for value, _ in around) and _flat_there(scene, columns, around[-1][1]):
            away, predictions = min(around, key=lambda one: one[0])
            return Direction(
                way="negated",
                perfect=perfect,
                away=away,
                how="moved off the targets at random",
                distance=scene.distance(predictions),
                constant=False,
                other=(-perfect, -away),
                step=None,
                column=f"y_pred[..., {first}]" if each == 1 else f"y_pred[..., {first}:{first + each}]",
            )
    return None


def _flat_there(scene: Scene, columns: slice, moved: np.ndarray) -> bool:
    """Whether the derivative for some columns vanishes on the targets, held against another place."""
    sizes = []
    for predictions in (scene.right, moved):
        point = scene.lab.attempt(partial(look, scene.lab, scene.subject, scene.leaves(predictions)))
        gradient = point.gradients[0] if point is not None else None
        if gradient is None or not np.isfinite(gradient).all():
            return False
        sizes.append(float(np.sqrt(np.mean(gradient[..., columns] ** 2))))
    return sizes[0] <= TURNED * sizes[1]


def _with(here: np.ndarray, columns: slice, values: np.ndarray) -> np.ndarray:
    moved = here.copy()
    moved[..., columns] = values
    return moved


def _step(scene: Scene) -> tuple[tuple[float, float], tuple[float, float]] | None:
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
