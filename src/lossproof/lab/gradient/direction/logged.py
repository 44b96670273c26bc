"""A loss that takes the logarithm of the targets where it should take that of the predictions."""

from __future__ import annotations

import numpy as np

from lossproof.lab.gradient.direction.scene import Direction, Scene
from lossproof.lab.subject import LossSubject

SMALL = (1e-2, 1e-3, 1e-4)
"""Targets at which a logarithm shows: from each to the next the slope changes by the same amount."""
SAME = 0.15
"""How far two such changes may differ; a factor that depends on the target itself (a weight) changes it a little."""
STRAIGHT = 1e-3
"""How far the slope may change over the range of a prediction that counts for its first power only."""


def logged(scene: Scene) -> Direction | None:
    """A cross-entropy with its arguments exchanged, whatever factors stand before it.

    `-(p log y + (1 - p) log(1 - y))` is straight in the prediction p, so its minimum is at one end of its range, never at
    a target between. What tells it from a loss that is straight by design, such as an expected cost, is that its slope
    goes with the logarithm of the target, to infinity at both ends.
    """
    right, here = scene.right, scene.here
    if scene.ids or scene.simplex or not isinstance(scene.subject, LossSubject) or here.min() < 0.0 or here.max() > 1.0:
        return None
    if right.min() < 0.0 or right.max() > 1.0 or not ((right > SMALL[0]) & (right < 1.0 - SMALL[0])).any():
        return None
    if not _straight(scene) or not (_rises(scene, upper=False) and _rises(scene, upper=True)):
        return None
    ends = np.round(right)
    perfect, away = scene.value(right), scene.value(ends)
    if not scene.lower(away, perfect):
        return None
    return Direction(
        way="logged",
        perfect=perfect,
        away=away,
        how="every prediction 0 or 1, whichever is nearer to its target",
        distance=scene.distance(ends),
        constant=False,
    )


def _straight(scene: Scene) -> bool:
    slopes = [scene.gradient(np.full_like(scene.right, p), scene.right) for p in (0.3, 0.5, 0.7)]
    known = [slope for slope in slopes if slope is not None]
    if len(known) < len(slopes):
        return False
    size = float(np.abs(known[0]).max())
    return size > 0.0 and all(bool(np.abs(slope - known[0]).max() <= STRAIGHT * size) for slope in known[1:])


def _rises(scene: Scene, upper: bool) -> bool:
    """Whether the slope runs off with the logarithm of targets that come near to an end of their range."""
    middle = np.full_like(scene.right, 0.5)
    targets = [1.0 - small if upper else small for small in SMALL]
    slopes = [scene.gradient(middle, np.full_like(scene.right, target)) for target in targets]
    known = [slope for slope in slopes if slope is not None]
    if len(known) < len(slopes):
        return False
    first, second = known[1] - known[0], known[2] - known[1]
    if upper:
        first, second = -first, -second
    felt = np.abs(first) > STRAIGHT * float(np.abs(first).max())
    if 2 * int(felt.sum()) < felt.size or (first[felt] <= 0.0).any():
        return False
    return bool((np.abs(second[felt] / first[felt] - 1.0) <= SAME).all())
