"""What is kept of one run, so that another can be held against it. Free of any backend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

SAMPLED = 1 << 16
"""Entries of a gradient or of updated weights that are kept of one variable."""


@dataclass(frozen=True, eq=False)
class Variable:
    """A variable of the model when training began."""

    path: str
    kind: str
    """`trainable`, `state` (such as moving averages, or frozen weights) or `seed` (of a random generator)."""
    value: np.ndarray
    trained_by: tuple[str, ...] = ()
    """Where this run had trained it before (`train.py:12`)."""


@dataclass(frozen=True, eq=False)
class Optimizer:
    """The optimizer when training began."""

    name: str
    config: Any
    """As Keras serializes it; None where it cannot."""
    state: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Point:
    """The objective at the initial weights on the first batch, evaluated eagerly with random numbers that repeat.

    `noise` is by how much each number moves when weights and inputs are moved by one unit in their last place.
    """

    predictions: tuple[np.ndarray, ...]
    predictions_noise: tuple[np.ndarray, ...]
    loss: float
    loss_noise: float
    gradients: tuple[np.ndarray | None, ...]
    """Of each trainable variable, at most `SAMPLED` entries of it."""
    gradients_noise: tuple[np.ndarray | None, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """What a step of the training left."""

    loss: float | None
    """As Keras reports it: the mean over the steps so far."""
    weights: tuple[np.ndarray, ...]
    """Of each trainable variable, at most `SAMPLED` entries of it."""


@dataclass(frozen=True, eq=False)
class Training:
    """One training of the run: a `fit`, or a loop of `train_on_batch`."""

    call: str
    where: str
    model: str
    mode: str
    """`eager`, `graph` or `jit`."""
    objective: str
    """The compiled loss, or the method that computes it, in words."""
    variables: tuple[Variable, ...]
    optimizer: Optimizer | None
    generators: Any
    """The states of the process's random generators."""
    rows: np.ndarray | None
    """A mark of each row of the data, in its order; equal for equal rows. None where it came in batches."""
    batches: tuple[Any, ...]
    """The first ones as the step received them, nested arrays."""
    steps: tuple[Step, ...]
    point: Point | None
    notes: tuple[str, ...] = ()
    """What could not be measured."""

    def of_kind(self, kind: str) -> tuple[Variable, ...]:
        """Its variables of one kind."""
        return tuple(one for one in self.variables if one.kind == kind)


@dataclass(frozen=True, eq=False)
class Recording:
    """One run."""

    name: str
    """The script, or the name of the function."""
    backend: str
    keras: str
    trainings: tuple[Training, ...]
    error: str | None = None
    """What ended it, where that was an exception."""


def leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays in nested data, each with where it stands; a batch's own parts are named x, y and sample_weight."""
    if isinstance(data, (tuple, list)):
        for k, part in enumerate(data):
            yield from leaves(part, f"{path}[{k}]")
    elif isinstance(data, dict):
        for key in sorted(data, key=str):
            yield from leaves(data[key], f"{path}[{key!r}]")
    elif data is not None:
        yield path, data


def parts_of(batch: Any) -> list[tuple[str, np.ndarray]]:
    """The arrays of a batch with their names."""
    if not isinstance(batch, (tuple, list)) or len(batch) > 3:
        return list(leaves(batch, "x"))
    return [leaf for name, part in zip(("x", "y", "sample_weight"), batch, strict=False) for leaf in leaves(part, name)]


def sampled(array: np.ndarray) -> np.ndarray:
    """At most `SAMPLED` entries, evenly spread; one axis."""
    flat = array.reshape(-1)
    return np.array(flat[:: -(-flat.size // SAMPLED) if flat.size > SAMPLED else 1])
