"""Trainable weights that no part of the objective sends a gradient to, and what keeps it from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from lossproof import keras_private
from lossproof.findings.finding import Place
from lossproof.lab.backends.base import Tensor
from lossproof.lab.failure import needed
from lossproof.lab.gradient.callers import called_at
from lossproof.lab.gradient.stops import stops_lifted
from lossproof.lab.gradient.swallowed import Swallowed, swallowed
from lossproof.lab.gradient.weight_looks import Look, by_layer, like, looked_at, moved_at_random, outputs_at, total_at
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable

POINTS = 3
"""Other weights at which a gradient is looked for, besides the captured ones."""
REACHES = (1.0, 8.0, 64.0)
"""How far weights are moved to see the objective move, in their own spread: what is rounded needs more than a little."""
MOST_STOPS = 16
"""Calls of `stop_gradient` that are lifted one by one."""

Way = Literal["cut", "unused", "swallowed", "cancelled"]


@dataclass(frozen=True)
class Dead:
    """Weights without a gradient wherever it was looked for."""

    way: Way
    """`cut`: the objective moves with them; `unused`: nothing does, though their layer is called; `swallowed`: a layer
    of the user's receives what they make, and gives the same without it; `cancelled`: predictions move with them, the
    objective does not, since what they make stands in it twice."""
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


def dead_weights(lab: Lab) -> Dead | None:
    """The weights that stay as they are though the optimizer is told to train them; None where there are none.

    Raises:
        NotApplicable: No weight gets a gradient, which is another matter, or the gradient cannot be had.
    """
    _ = lab.evaluation  # where the objective cannot be evaluated, this says so
    with needed("the gradient cannot be computed"):
        return _dead_weights(lab)


def _dead_weights(lab: Lab) -> Dead | None:
    from lossproof.lab.gradient.cancelled import cancelled

    base = looked_at(lab, None, first=True)
    dark = [i for i in range(len(base.gradients)) if base.dark(i)]
    if dark and len(dark) == sum(base.updated):
        raise NotApplicable("no weight at all gets a gradient, which is LP202's question")
    if not np.isfinite(base.value):
        return None
    start = [lab.number(tensor) for tensor in lab.model.start]
    dark = _dark_elsewhere(lab, start, [i for i in dark if _untouched(lab, lab.model.trainable[i])])
    found = None
    if dark:
        found = _cut(lab, base, start, dark) or _unused(lab, base, start, dark) or _swallowed(lab, base, start, dark)
    return found or cancelled(lab, base)


def _dark_elsewhere(lab: Lab, start: list[np.ndarray], dark: list[int]) -> list[int]:
    """Those of the weights without a gradient that have none at random weights either."""
    random = np.random.default_rng(0)
    for _ in range(POINTS if dark else 0):
        look = lab.attempt(lambda: looked_at(lab, moved_at_random(random, start, range(len(start)))))
        if look is None or not np.isfinite(look.value):
            return []
        dark = [i for i in dark if look.dark(i)]
    return dark


def _untouched(lab: Lab, variable: Any) -> bool:
    """Whether this training alone is responsible for a variable: nothing else in the script sets or trains it."""
    run, capture = lab.run, lab.capture
    mine = {one.capture for one in run.trainings if one.model() is capture.model and one.compiled is capture.compiled}
    mine.add(capture.id)
    if any(update.by == "assign" or update.capture not in mine for update in run.updates_of(variable)):
        return False
    others = (one for one in run.captures if one.training and one.id not in mine and one.model is not None)
    return not any(any(v is variable for v in one.model.trainable_variables) for one in others if one.model.built)


# The objective moves with them ---------------------------------------------------------------------------------------


def _cut(lab: Lab, base: Look, start: list[np.ndarray], dark: list[int]) -> Dead | None:
    random = np.random.default_rng(1)
    before = lab.attempt(lambda: total_at(lab, start))
    if before is None:
        return None
    felt, farthest = [], REACHES[0]
    for group in by_layer(lab, dark):
        for reach in REACHES:
            moved = moved_at_random(random, start, group, reach)
            after = lab.attempt(partial(total_at, lab, moved))
            if after is None or not np.isfinite(after):
                break
            if differs(before, after, terms=1024):
                if reach == REACHES[0] or _dark_there(lab, moved, group):
                    felt += group
                    farthest = max(farthest, reach)
                break
    if not felt:
        return None
    after = total_at(lab, moved_at_random(random, start, felt, farthest))
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
    look = lab.attempt(partial(looked_at, lab, weights))
    return look is not None and all(look.dark(i) for i in group)


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
            look = looked_at(lab, None)
        found = [look.gradients[i] for i in felt]
        return float(np.sqrt(sum(float(np.sum(g**2)) for g in found if g is not None)))

    norm: float | None = lab.attempt(experiment)
    return norm if norm is not None and np.isfinite(norm) else None


# Nothing moves with them ---------------------------------------------------------------------------------------------


def _unused(lab: Lab, base: Look, start: list[np.ndarray], dark: list[int]) -> Dead | None:
    """Layers that the model's own `call` calls, and of whose results nothing comes: no loss and no output."""
    if lab.overrides_train_step:
        return None  # its other methods may use them
    for group in by_layer(lab, dark):
        where = lab.attempt(lambda group=group: called_at(lab, {id(lab.model.trainable[i]) for i in group}))  # type: ignore[misc]
        if where is None:
            continue
        random = np.random.default_rng(1)
        moved = moved_at_random(random, start, group)
        if all(_same_outputs(lab, start, moved, training) for training in (True, False)):
            return Dead(
                way="unused",
                paths=tuple(lab.model.trainable[i].path for i in group),
                numbers=sum(start[i].size for i in group),
                trainable=sum(base.updated),
                points=1 + POINTS,
                before=total_at(lab, start),
                after=total_at(lab, moved),
                calls=where,
            )
    return None


def _swallowed(lab: Lab, base: Look, start: list[np.ndarray], dark: list[int]) -> Dead | None:
    """Layers of a functional model whose results a layer of the user's receives and does not use."""
    if lab.overrides_train_step or not keras_private.is_functional(lab.capture.model):
        return None

    def tensors(weights: list[np.ndarray]) -> list[Tensor]:
        return [like(lab, array, tensor) for array, tensor in zip(weights, lab.model.start, strict=True)]

    ends: dict[str, tuple[Swallowed, list[int]]] = {}
    for group in by_layer(lab, dark):
        moved = moved_at_random(np.random.default_rng(1), start, group)
        end = lab.attempt(partial(swallowed, lab, tensors(start), tensors(moved)))
        if end is not None:
            ends.setdefault(end.layer, (end, []))[1].extend(group)
    if not ends:
        return None
    end, lost = max(ends.values(), key=lambda one: len(one[1]))
    moved = moved_at_random(np.random.default_rng(1), start, lost)
    return Dead(
        way="swallowed",
        paths=tuple(lab.model.trainable[i].path for i in lost),
        numbers=sum(start[i].size for i in lost),
        trainable=sum(base.updated),
        points=1 + POINTS,
        before=total_at(lab, start),
        after=total_at(lab, moved),
        calls=end.where,
        end=end.layer,
    )


def _same_outputs(lab: Lab, start: list[np.ndarray], moved: list[np.ndarray], training: bool) -> bool:
    pairs = lab.attempt(lambda: [outputs_at(lab, weights, training) for weights in (start, moved)])
    return pairs is not None and all(np.array_equal(a, b) for a, b in zip(*pairs, strict=True))
