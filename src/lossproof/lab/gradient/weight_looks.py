"""The objective and its gradient at other weights, as far as the training at hand applies it."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import quiet
from lossproof.lab.gradient.weight_connection import moved_model
from lossproof.lab.lab import Lab
from lossproof.lab.step import run_step
from lossproof.lab.weight_gradients import weight_gradients
from lossproof.rules.rule import NotApplicable


@dataclass(frozen=True)
class Look:
    """The objective and its gradient for each variable that is updated; None for the others."""

    value: float
    gradients: tuple[np.ndarray | None, ...]
    updated: tuple[bool, ...]

    def dark(self, i: int) -> bool:
        gradient = self.gradients[i]
        return self.updated[i] and (gradient is None or not gradient.any())


def looked_at(lab: Lab, weights: list[np.ndarray] | None, first: bool = False) -> Look:
    """The objective and its gradient with other weights, or with the captured ones; `first`: as known already."""
    if lab.overrides_train_step:
        return _looked_at_step(lab, weights)
    if first:
        known = lab.once(weight_gradients)
        return Look(lab.total, tuple(known), (True,) * len(known))
    tensors = lab.model.start
    if weights is not None:
        tensors = [like(lab, array, tensor) for array, tensor in zip(weights, tensors, strict=True)]

    def total(*moved: Tensor) -> Tensor:
        return lab.model.objective(lab.batch, list(moved))

    with quiet(lab):
        value, gradients = lab.backend.gradient(total, tensors)
    found = tuple(None if gradient is None else lab.number(gradient) for gradient in gradients)
    return Look(float(np.sum(lab.number(value))), found, (True,) * len(found))


def _looked_at_step(lab: Lab, weights: list[np.ndarray] | None) -> Look:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = run_step(moved_model(lab, weights), lab.batch)
    positions = {id(variable): i for i, variable in enumerate(lab.model.trainable)}
    found: list[np.ndarray | None] = [None] * len(positions)
    updated = [False] * len(positions)
    for gradients, variables in zip(outcome.gradients, outcome.applied, strict=True):
        for gradient, variable in zip(gradients, variables, strict=False):
            i = positions.get(id(variable))
            if i is None:
                continue
            updated[i] = True
            if gradient is not None and (found[i] is None or not found[i].any()):  # type: ignore[union-attr]
                found[i] = gradient
    if not any(updated):
        raise NotApplicable("the weights that this train_step updates could not be observed")
    return Look(float(sum(outcome.losses)), tuple(found), tuple(updated))


def like(lab: Lab, array: np.ndarray, tensor: Tensor) -> Tensor:
    """An array as a tensor of the dtype of another."""
    return lab.backend.tensor(array, dtype=keras.backend.standardize_dtype(tensor.dtype))


def total_at(lab: Lab, weights: list[np.ndarray] | None) -> float:
    """The objective with other weights."""
    if lab.overrides_train_step:
        return _looked_at_step(lab, weights).value
    tensors = None
    if weights is not None:
        tensors = [like(lab, array, tensor) for array, tensor in zip(weights, lab.model.start, strict=True)]
    with quiet(lab):
        return float(np.sum(lab.number(lab.model.objective(lab.batch, tensors))))


def moved_at_random(
    random: np.random.Generator, start: list[np.ndarray], which: Any, reach: float = 1.0
) -> list[np.ndarray]:
    """The weights, some of them moved in any direction by about their own spread, times `reach`."""
    chosen = set(which)
    return [
        array + reach * random.normal(size=array.shape) * (float(np.std(array)) or 0.1) if i in chosen else array
        for i, array in enumerate(start)
    ]


def by_layer(lab: Lab, positions: Iterable[int]) -> list[list[int]]:
    """Positions of trainable variables, grouped by the layer that owns them."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i in positions:
        groups[lab.model.trainable[i].path.rpartition("/")[0]].append(i)
    return list(groups.values())


def outputs_at(lab: Lab, weights: list[np.ndarray], training: bool) -> list[np.ndarray]:
    """What a forward pass gives with other weights: the outputs of the model, and the losses that its layers add."""
    tensors = [like(lab, array, tensor) for array, tensor in zip(weights, lab.model.start, strict=True)]
    with quiet(lab), lab.model.scope(tensors):
        forward = lab.model.forward(lab.batch.x, training)
        return [lab.number(leaf) for leaf in [*keras.tree.flatten(forward.y_pred), *forward.losses]]
