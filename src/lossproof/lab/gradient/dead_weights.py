"""Trainable weights that no part of the objective sends a gradient to, and what keeps it from them."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras
import numpy as np

from lossproof import keras_private
from lossproof.findings.finding import Place
from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import quiet
from lossproof.lab.failure import needed
from lossproof.lab.gradient.callers import called_at
from lossproof.lab.gradient.stops import stops_lifted
from lossproof.lab.gradient.swallowed import Swallowed, swallowed
from lossproof.lab.gradient.weight_connection import moved_model
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs
from lossproof.lab.step import run_step
from lossproof.lab.weight_gradients import weight_gradients
from lossproof.rules.rule import NotApplicable

POINTS = 3
"""Other weights at which a gradient is looked for, besides the captured ones."""
REACHES = (1.0, 8.0, 64.0)
"""How far weights are moved to see the objective move, in their own spread: what is rounded needs more than a little."""
MOST_STOPS = 16
"""Calls of `stop_gradient` that are lifted one by one."""

Way = Literal["cut", "unused", "swallowed"]


@dataclass(frozen=True)
class Dead:
    """Weights without a gradient wherever it was looked for."""

    way: Way
    """`cut`: the objective moves with them; `unused`: nothing does, though their layer is called; `swallowed`: a layer
    of the user's receives what they make, and gives the same without it."""
    paths: tuple[str, ...]
    numbers: int
    trainable: int
    """How many variables the objective trains, these included."""
    points: int
    before: float
    """The objective."""
    after: float
    """The objective with these weights moved at random."""
    stop: Place | None = None
    """Where the gradient is stopped."""
    lifted: float | None = None
    """The norm of the gradient for these weights if it is not stopped there."""
    calls: Place | None = None
    """Where the layer is called whose result is not used, or where the layer is written that does not use it."""
    end: str | None = None
    """The name of that layer."""


@dataclass(frozen=True)
class _Look:
    """The objective and its gradient for each variable that is updated; None for the others."""

    value: float
    gradients: tuple[np.ndarray | None, ...]
    updated: tuple[bool, ...]

    def dark(self, i: int) -> bool:
        gradient = self.gradients[i]
        return self.updated[i] and (gradient is None or not gradient.any())


def dead_weights(lab: Lab) -> Dead | None:
    """The weights that stay as they are though the optimizer is told to train them; None where there are none.

    Raises:
        NotApplicable: No weight gets a gradient, which is another matter, or the gradient cannot be had.
    """
    _ = lab.evaluation  # where the objective cannot be evaluated, this says so
    with needed("the gradient cannot be computed"):
        return _dead_weights(lab)


def _dead_weights(lab: Lab) -> Dead | None:
    base = _looked_at(lab, None, first=True)
    dark = [i for i in range(len(base.gradients)) if base.dark(i)]
    if not dark:
        return None
    if len(dark) == sum(base.updated):
        raise NotApplicable("no weight at all gets a gradient, which is LP202's question")
    dark = [i for i in dark if _untouched(lab, lab.model.trainable[i])]
    start = [lab.number(tensor) for tensor in lab.model.start]
    random = np.random.default_rng(0)
    for _ in range(POINTS if dark else 0):
        look = lab.attempt(lambda: _looked_at(lab, _moved(random, start, range(len(start)))))
        if look is None or not np.isfinite(look.value):
            return None
        dark = [i for i in dark if look.dark(i)]
    if not dark or not np.isfinite(base.value):
        return None
    return _cut(lab, base, start, dark) or _unused(lab, base, start, dark) or _swallowed(lab, base, start, dark)


def _moved(random: np.random.Generator, start: list[np.ndarray], which: Any, reach: float = 1.0) -> list[np.ndarray]:
    chosen = set(which)
    return [
        array + reach * random.normal(size=array.shape) * (float(np.std(array)) or 0.1) if i in chosen else array
        for i, array in enumerate(start)
    ]


def _untouched(lab: Lab, variable: Any) -> bool:
    """Whether this training alone is responsible for a variable: nothing else in the script sets or trains it."""
    run, capture = lab.run, lab.capture
    mine = {one.capture for one in run.trainings if one.model() is capture.model and one.compiled is capture.compiled}
    mine.add(capture.id)
    if any(update.by == "assign" or update.capture not in mine for update in run.updates_of(variable)):
        return False
    others = (one for one in run.captures if one.training and one.id not in mine and one.model is not None)
    return not any(any(v is variable for v in one.model.trainable_variables) for one in others if one.model.built)


# Looking at the gradient ------------------------------------------------------------------------------------------


def _looked_at(lab: Lab, weights: list[np.ndarray] | None, first: bool = False) -> _Look:
    if lab.overrides_train_step:
        return _looked_at_step(lab, weights)
    if first:
        known = lab.once(weight_gradients)
        return _Look(lab.total, tuple(known), (True,) * len(known))
    tensors = lab.model.start
    if weights is not None:
        tensors = [_like(lab, array, tensor) for array, tensor in zip(weights, tensors, strict=True)]

    def total(*moved: Tensor) -> Tensor:
        return lab.model.objective(lab.batch, list(moved))

    with quiet(lab):
        value, gradients = lab.backend.gradient(total, tensors)
    found = tuple(None if gradient is None else lab.number(gradient) for gradient in gradients)
    return _Look(float(np.sum(lab.number(value))), found, (True,) * len(found))


def _looked_at_step(lab: Lab, weights: list[np.ndarray] | None) -> _Look:
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
    return _Look(float(sum(outcome.losses)), tuple(found), tuple(updated))


def _like(lab: Lab, array: np.ndarray, tensor: Tensor) -> Tensor:
    return lab.backend.tensor(array, dtype=keras.backend.standardize_dtype(tensor.dtype))


def _total(lab: Lab, weights: list[np.ndarray] | None) -> float:
    if lab.overrides_train_step:
        return _looked_at_step(lab, weights).value
    tensors = None
    if weights is not None:
        tensors = [_like(lab, array, tensor) for array, tensor in zip(weights, lab.model.start, strict=True)]
    with quiet(lab):
        return float(np.sum(lab.number(lab.model.objective(lab.batch, tensors))))


# The objective moves with them ---------------------------------------------------------------------------------------


def _cut(lab: Lab, base: _Look, start: list[np.ndarray], dark: list[int]) -> Dead | None:
    random = np.random.default_rng(1)
    before = lab.attempt(lambda: _total(lab, start))
    if before is None:
        return None
    felt, farthest = [], REACHES[0]
    for group in _by_layer(lab, dark):
        for reach in REACHES:
            moved = _moved(random, start, group, reach)
            after = lab.attempt(partial(_total, lab, moved))
            if after is None or not np.isfinite(after):
                break
            if differs(before, after, terms=1024):
                if reach == REACHES[0] or _dark_there(lab, moved, group):
                    felt += group
                    farthest = max(farthest, reach)
                break
    if not felt:
        return None
    after = _total(lab, _moved(random, start, felt, farthest))
    stop, lifted = _lifted(lab, felt)
    return Dead(
        way="cut",
        paths=tuple(lab.model.trainable[i].path for i in felt),
        numbers=sum(start[i].size for i in felt),
        trainable=sum(base.updated),
        points=1 + POINTS,
        before=before,
        after=after,
        stop=stop,
        lifted=lifted,
    )


def _dark_there(lab: Lab, weights: list[np.ndarray], group: list[int]) -> bool:
    look = lab.attempt(partial(_looked_at, lab, weights))
    return look is not None and all(look.dark(i) for i in group)


def _by_layer(lab: Lab, positions: list[int]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for i in positions:
        groups[lab.model.trainable[i].path.rpartition("/")[0]].append(i)
    return list(groups.values())


def _lifted(lab: Lab, felt: list[int]) -> tuple[Place | None, float | None]:
    """Which single `stop_gradient` keeps the gradient from these weights, and its norm without it."""
    places: list[Place | None] = []
    norm = _norm_without_stops(lab, felt, None, places)
    if not norm:
        return None, None
    for k in range(min(len(places), MOST_STOPS)):
        alone = _norm_without_stops(lab, felt, k, [])
        if alone:
            return places[k], alone
    return next((place for place in places if place is not None), None), norm


def _norm_without_stops(lab: Lab, felt: list[int], chosen: int | None, places: list[Place | None]) -> float | None:
    def experiment() -> float:
        with stops_lifted(lab, chosen, places):
            look = _looked_at(lab, None)
        found = [look.gradients[i] for i in felt]
        return float(np.sqrt(sum(float(np.sum(g**2)) for g in found if g is not None)))

    norm: float | None = lab.attempt(experiment)
    return norm if norm is not None and np.isfinite(norm) else None


# Nothing moves with them ---------------------------------------------------------------------------------------------


def _unused(lab: Lab, base: _Look, start: list[np.ndarray], dark: list[int]) -> Dead | None:
    """Layers that the model's own `call` calls, and of whose results nothing comes: no loss and no output."""
    if lab.overrides_train_step:
        return None  # its other methods may use them
    for group in _by_layer(lab, dark):
        where = lab.attempt(lambda group=group: called_at(lab, {id(lab.model.trainable[i]) for i in group}))  # type: ignore[misc]
        if where is None:
            continue
        random = np.random.default_rng(1)
        moved = _moved(random, start, group)
        if all(_same_outputs(lab, start, moved, training) for training in (True, False)):
            return Dead(
                way="unused",
                paths=tuple(lab.model.trainable[i].path for i in group),
                numbers=sum(start[i].size for i in group),
                trainable=sum(base.updated),
                points=1 + POINTS,
                before=_total(lab, start),
                after=_total(lab, moved),
                calls=where,
            )
    return None


def _swallowed(lab: Lab, base: _Look, start: list[np.ndarray], dark: list[int]) -> Dead | None:
    """Layers of a functional model whose results a layer of the user's receives and does not use."""
    if lab.overrides_train_step or not keras_private.is_functional(lab.capture.model):
        return None

    def tensors(weights: list[np.ndarray]) -> list[Tensor]:
        return [_like(lab, array, tensor) for array, tensor in zip(weights, lab.model.start, strict=True)]

    ends: dict[str, tuple[Swallowed, list[int]]] = {}
    for group in _by_layer(lab, dark):
        moved = _moved(np.random.default_rng(1), start, group)
        end = lab.attempt(partial(swallowed, lab, tensors(start), tensors(moved)))
        if end is not None:
            ends.setdefault(end.layer, (end, []))[1].extend(group)
    if not ends:
        return None
    end, lost = max(ends.values(), key=lambda one: len(one[1]))
    moved = _moved(np.random.default_rng(1), start, lost)
    return Dead(
        way="swallowed",
        paths=tuple(lab.model.trainable[i].path for i in lost),
        numbers=sum(start[i].size for i in lost),
        trainable=sum(base.updated),
        points=1 + POINTS,
        before=_total(lab, start),
        after=_total(lab, moved),
        calls=end.where,
        end=end.layer,
    )


def _same_outputs(lab: Lab, start: list[np.ndarray], moved: list[np.ndarray], training: bool) -> bool:
    def outputs(weights: list[np.ndarray]) -> list[np.ndarray]:
        tensors = [_like(lab, array, tensor) for array, tensor in zip(weights, lab.model.start, strict=True)]
        with quiet(lab), lab.model.scope(tensors):
            forward = lab.model.forward(lab.batch.x, training)
            return [lab.number(leaf) for leaf in [*keras.tree.flatten(forward.y_pred), *forward.losses]]

    pairs = lab.attempt(lambda: list(zip(outputs(start), outputs(moved), strict=True)))
    return pairs is not None and all(np.array_equal(a, b) for a, b in pairs)
