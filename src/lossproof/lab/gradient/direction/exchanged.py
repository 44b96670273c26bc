"""Arguments in the wrong order."""

from __future__ import annotations

import numpy as np

from lossproof.lab.gradient.direction.perfect import aimless
from lossproof.lab.gradient.direction.scene import TURNED, Direction, Scene
from lossproof.lab.noise import rounding
from lossproof.lab.subject import LossSubject


def swapped(scene: Scene) -> Direction | None:
    """A loss that, with its arguments exchanged, has a minimum at the targets, and as written has none there.

    On probabilities and logits: at the logits whose probabilities the targets are.
    """
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
    tried = [(scene.value(p, targets), how, p) for how, p in (*beyond, *aimless(scene))]
    tried = [one for one in tried if scene.lower(one[0], perfect)]
    if not tried:
        return None
    if scene.read is None and _differs_by_a_penalty(scene, targets):
        return None  # of logits no penalty brings the minimum to where the targets are their probabilities
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
