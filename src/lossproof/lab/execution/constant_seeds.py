"""The objective with other seeds in the place of the integers that it draws with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.place import user_place
from lossproof.findings.finding import Place
from lossproof.lab.blind import quiet
from lossproof.lab.gradient.weight_connection import moved_model
from lossproof.lab.lab import Lab
from lossproof.lab.received import Batch
from lossproof.lab.step import run_step

LEAST = float(np.sqrt(np.finfo("float32").eps))
"""Half of the digits of float32: noise that moves the gradient by less breaks ties, or keeps a logarithm finite."""


@dataclass(frozen=True)
class Draw:
    """One call that draws with an integer for a seed."""

    name: str
    seed: int
    shape: tuple[int, ...]
    bounds: tuple[Any, ...]
    """Of whole numbers: from where, to where."""
    place: Place | None


@dataclass(frozen=True)
class Look:
    """One evaluation."""

    draws: list[Draw]
    loss: float
    gradients: list[np.ndarray]


Reseed = Callable[[int, int], int]
"""From the number of the call, and its seed, to the seed that it is given instead."""


def evaluated(
    lab: Lab,
    batch: Batch,
    reseed: Reseed = lambda _, seed: seed,
    weights: list[np.ndarray] | None = None,
    stretched: frozenset[int] = frozenset(),
) -> Look:
    """The objective with other seeds or weights, or with what some of the calls draw made larger by a little."""
    draws: list[Draw] = []

    def give(name: str, seed: int, given: dict[str, Any], drawn: Any) -> Any:
        shape = tuple(-1 if size is None else int(size) for size in drawn.shape)
        bounds = tuple(str(given.get(key)) for key in ("minval", "maxval")) if name == "randint" else ()
        draws.append(Draw(name, seed, shape, bounds, user_place()))
        return drawn * (1.0 + 2.0**-6) if len(draws) - 1 in stretched else drawn

    def total(*moved: Any) -> Any:
        draws.clear()
        return lab.model.objective(batch, list(moved))

    with lab.backend.repeatable(), keras_private.integer_seeds(lambda seed: reseed(len(draws), seed), give):
        if lab.overrides_train_step:
            outcome = run_step(moved_model(lab, weights), batch)
            found: list[Any] = [one for applied in outcome.gradients for one in applied]
            loss = sum(outcome.losses)
        else:
            value, found = lab.backend.gradient(total, _tensors(lab, weights))
            loss = float(np.sum(lab.number(value)))
    gradients = [np.zeros(0) if one is None else np.asarray(lab.number(one), dtype="float64") for one in found]
    return Look(list(draws), loss, gradients)


def _tensors(lab: Lab, weights: list[np.ndarray] | None) -> list[Any]:
    if weights is None:
        return lab.model.start
    return [
        lab.backend.tensor(array, dtype=keras.backend.standardize_dtype(tensor.dtype))
        for array, tensor in zip(weights, lab.model.start, strict=True)
    ]


def distance(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """How far two gradients are apart, as a share of the first; infinite where they are of other things."""
    if [one.shape for one in a] != [one.shape for one in b]:
        return math.inf
    apart = math.sqrt(sum(float(np.sum((one - other) ** 2)) for one, other in zip(a, b, strict=True)))
    return apart / max(math.sqrt(sum(float(np.sum(one**2)) for one in a)), 1e-30)


def same(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> bool:
    """Whether two gradients are the same but for rounding."""
    return distance(a, b) < LEAST / 8.0


def draws_with_integers(lab: Lab) -> bool:
    """Whether the objective draws with an integer for a seed at all; cheaper than an evaluation."""
    found: list[str] = []

    def give(name: str, _: int, __: Any, drawn: Any) -> Any:
        found.append(name)
        return drawn

    def run() -> None:
        lab.model.objective(lab.batch)

    with quiet(lab), keras_private.integer_seeds(lambda seed: seed, give):
        lab.backend.outline(run)
    return bool(found)


def predicted(lab: Lab, weights: list[np.ndarray] | None) -> tuple[list[np.ndarray], int]:
    """The outputs of a prediction, and how often one draws with an integer for a seed."""
    calls: list[str] = []

    def give(name: str, _: int, __: Any, drawn: Any) -> Any:
        calls.append(name)
        return drawn

    scope = lab.model.scope(None if weights is None else _tensors(lab, weights))
    with quiet(lab), keras_private.integer_seeds(lambda seed: seed, give), scope:
        forward = lab.model.forward(lab.batch.x, training=False)
        return [lab.number(leaf) for leaf in keras.tree.flatten(forward.y_pred)], len(calls)
