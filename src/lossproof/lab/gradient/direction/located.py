"""Targets among the parameters of a distribution: a likelihood that was not negated."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np

from lossproof.lab.gradient.direction.scene import FEWEST_ROWS, TURNED, Direction, Scene, on_simplex
from lossproof.lab.lab import Lab
from lossproof.lab.predictions import float_leaves, look
from lossproof.lab.subject import Subject


def located(lab: Lab, subject: Subject) -> Direction | None:
    """A loss that is highest where one of several numbers per sample lies on its target: a likelihood, not negated."""
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    targets = [lab.number(leaf) for leaf in keras.tree.flatten(subject.y_true) if lab.backend.is_tensor(leaf)]
    if len(leaves) != 1 or len(targets) != 1 or targets[0].dtype.kind not in "fiub" or leaves[0].ndim < 2:
        return None
    if on_simplex(leaves[0]):
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
