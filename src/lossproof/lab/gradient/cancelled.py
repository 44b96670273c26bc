"""Weights whose influence on the objective cancels: a ratio of what they make to itself, a difference from itself."""

from __future__ import annotations

from functools import partial

import numpy as np

from lossproof.lab.gradient.dead_weights import Dead
from lossproof.lab.gradient.weight_looks import Look, by_layer, looked_at, moved_at_random, outputs_at, total_at
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs

SMALL = 1e-5
"""Of the largest layer's gradient times weights: how much at most rounding may leave."""
NEARBY = 1e-4
"""How far weights are moved to see whether a gradient is rounding: that of a function stays nearly the same."""
ALIKE = 0.5
"""The cosine of two gradients near by, below which they are noise."""


def cancelled(lab: Lab, base: Look) -> Dead | None:
    """Whole layers that the predictions follow and the objective does not; their gradient is the noise of rounding.

    A shift before a normalisation has no influence either, which is why a layer counts by its kernels, all of them moved
    in any direction; and a branch that starts at nothing has some once everything is moved.
    """
    start = [lab.number(tensor) for tensor in lab.model.start]
    groups = [one for one in by_layer(lab, range(len(start))) if any(start[i].ndim > 1 for i in one)]
    if len(groups) < 2 or not np.isfinite(base.value) or not all(base.updated):
        return None
    pulls = [_pull(base, start, group) for group in groups]
    faint = [group for group, pull in zip(groups, pulls, strict=True) if pull <= SMALL * max(pulls)]
    which = [i for group in faint for i in group]
    if not which or not _noise(lab, base, start, which):
        return None
    random = np.random.default_rng(2)
    before = after = base.value
    for k in range(3):
        here = start if k == 0 else moved_at_random(random, start, range(len(start)))
        there = moved_at_random(random, here, which)
        values = [lab.attempt(partial(total_at, lab, weights)) for weights in (here, there)]
        if values[0] is None or values[1] is None or not np.isfinite(values).all():
            return None
        if differs(values[0], values[1], terms=1024):
            return None
        if k == 0:
            before, after = values
    if not _outputs_move(lab, start, moved_at_random(random, start, which)):
        return None
    return Dead(
        way="cancelled",
        paths=tuple(lab.model.trainable[i].path for i in which),
        numbers=sum(start[i].size for i in which),
        trainable=sum(base.updated),
        points=3,
        before=before,
        after=after,
    )


def _pull(look: Look, start: list[np.ndarray], group: list[int]) -> float:
    """How far the objective moves, to first order, with a layer's kernels as large again."""
    found = 0.0
    for i in group:
        gradient = look.gradients[i]
        if gradient is not None and start[i].ndim > 1:
            found += float(np.linalg.norm(gradient) * np.linalg.norm(start[i]))
    return found


def _noise(lab: Lab, base: Look, start: list[np.ndarray], which: list[int]) -> bool:
    """Whether there is a gradient for these weights, and another one at weights that are nearly the same."""
    random = np.random.default_rng(1)
    near = [
        array * (1.0 + NEARBY * random.normal(size=array.shape)) if i in which else array
        for i, array in enumerate(start)
    ]
    look = lab.attempt(partial(looked_at, lab, near))
    if look is None:
        return False
    both = []
    for one in (base, look):
        known = [gradient for i in which if (gradient := one.gradients[i]) is not None]
        both.append(np.concatenate([gradient.ravel() for gradient in known]))
    if both[0].shape != both[1].shape or not np.isfinite(np.concatenate(both)).all():
        return False
    lengths = [float(np.linalg.norm(one)) for one in both]
    return any(lengths) and float(both[0] @ both[1]) <= ALIKE * lengths[0] * lengths[1]


def _outputs_move(lab: Lab, start: list[np.ndarray], moved: list[np.ndarray]) -> bool:
    pairs = lab.attempt(lambda: [outputs_at(lab, weights, training=True) for weights in (start, moved)])
    return pairs is not None and any(not np.array_equal(a, b) for a, b in zip(*pairs, strict=True))
