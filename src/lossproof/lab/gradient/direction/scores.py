"""Scores on labels of 0 and 1 that are best at the opposite of each label."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from lossproof.lab.bounds import bounds_of
from lossproof.lab.gradient.direction.perfect import around, perfect_is_perfect
from lossproof.lab.gradient.direction.scene import FEWEST_ROWS, Direction, Scene, step
from lossproof.lab.noise import rounding
from lossproof.lab.predictions import look

LEFT = (1e-2, 1e-3, 1e-4)
"""Of the way from the opposite of each label to the label: where a logarithm shows."""
STEADY = 0.1
"""How far its falls may differ: a focal factor changes them by a few per cent."""
SURE = 1e-6
"""How near a probability comes to 0 or 1 where it is read as a logit."""


def sharp(scene: Scene) -> Direction | None:
    """A loss on labels of 0 and 1 by which perfect predictions are the worst of all.

    Labels may be meant the other way round (1 for pairs that are alike, predicted as distances; the class that a sample
    is not), where the same is right. Then each prediction is drawn to the opposite of its label. A score with its minus
    missing is told by one of three things: its mirror image is best at the frequencies of the labels, as likelihoods are;
    it falls with the logarithm of what is left of the opposite, without an end, as likelihoods do and no loss for the
    opposite labels; or it counts over many predictions at once, like an overlap.
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
    if any(scene.lower(perfect, scene.value(p)) for _, p in around(scene)):
        return None
    away = scene.value(opposite)
    if not scene.ids and not perfect_is_perfect(scene, perfect, perfect - away, blends=False):
        return None
    likely = _worst_at_frequencies(scene) or _without_end(scene, opposite)
    if not likely and not (_counted_together(scene) and _bounded(scene)):
        return None
    return Direction(
        way="negated",
        perfect=perfect,
        away=away,
        how="every prediction the opposite of its label",
        distance=scene.distance(opposite),
        constant=True,
        other=(-perfect, -away),
        step=step(scene) if scene.read is None else None,
    )


def as_logits(scene: Scene) -> Scene | None:
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


def _without_end(scene: Scene, opposite: np.ndarray) -> bool:
    """Whether the loss falls by the same amount each time that ten times less is left of the way to the opposite."""
    values = [scene.value(opposite + left * (scene.right - opposite)) for left in LEFT]
    falls = [a - b for a, b in pairwise(values)]
    if not all(scene.lower(b, a) for a, b in pairwise(values)):
        return False
    return max(falls) - min(falls) <= STEADY * max(falls)


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
