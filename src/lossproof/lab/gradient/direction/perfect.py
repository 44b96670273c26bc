"""Losses by which all perfect predictions are equal, and others are better."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lossproof.lab.gradient.direction.scene import ADDED, Direction, Scene, norms, step
from lossproof.lab.noise import rounding


def compared(scene: Scene) -> Direction | None:
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
    if gap <= ADDED * _reach(scene, perfect) or not perfect_is_perfect(scene, perfect, gap, blends=True):
        return None
    if not _perfect_elsewhere(scene, perfect, gap, predictions):
        return None
    # On the way to the targets a loss with a better place for each of them would find that place.
    way = [scene.value(predictions + t * (scene.right - predictions)) for t in (0.05, 0.5, 0.9)]
    if any(scene.lower(value, away) for value in way):
        return None
    nothing_worse = all(not scene.lower(perfect, scene.value(p)) for _, p in around(scene))
    return Direction(
        way="negated" if nothing_worse else "elsewhere",
        perfect=perfect,
        away=away,
        how=how if not scene.note else f"{how}, with {scene.note}",
        distance=scene.distance(predictions),
        constant=True,
        other=(-perfect, -away) if nothing_worse else None,
        step=step(scene),
    )


def _reach(scene: Scene, perfect: float) -> float:
    """How far values lie from that of perfect predictions."""
    values = [scene.value(p) for _, p in around(scene)]
    return max((abs(value - perfect) for value in values if np.isfinite(value)), default=0.0)


def around(scene: Scene) -> Iterator[tuple[str, np.ndarray]]:
    """Predictions of all sorts: without aim, of other rows, as captured, on the way, and past the targets."""
    yield from aimless(scene)
    yield "as captured", scene.here
    for rows in (1, 2):
        yield "the targets of other rows", np.roll(scene.right, rows, axis=0)
    for t in (0.5, 0.9):
        yield "on the way", scene.here + t * (scene.right - scene.here)


def aimless(scene: Scene) -> Iterator[tuple[str, np.ndarray]]:
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
    others = list(aimless(scene))
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


def perfect_is_perfect(scene: Scene, perfect: float, gap: float, blends: bool) -> bool:
    """Whether predictions on the targets have the same value for other targets as well: other rows', and mixtures."""
    other = np.roll(scene.right, 1, axis=0)
    shares = (1.0, 0.5, 0.3) if blends else (1.0,)
    for share in shares:
        targets = scene.right + share * (other - scene.right)
        if scene.length is not None:
            targets *= scene.length / np.maximum(norms(targets)[..., None], 1e-12)
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
