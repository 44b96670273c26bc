"""A value or a gradient that is NaN or infinite, where it was met, and what takes it away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lossproof.findings.finding import Severity
from lossproof.lab.blind import Point
from lossproof.lab.localize.events import Event
from lossproof.lab.subject import Subject

Kind = Literal["value", "gradient"]
SHOWN = 4
Reach = Literal["captured", "data", "confident"]


@dataclass(frozen=True)
class Cure:
    """One thing changed, with which the value (or the gradient) is finite."""

    change: str
    before: float
    after: float


@dataclass(frozen=True)
class Trouble:
    """What is not finite, on which inputs."""

    kind: Kind
    reach: Reach
    """`captured`: the captured batch; `data`: other rows that the user passed; `confident`: predictions that are right
    and as sure as the output can be."""
    severity: Severity
    subject: Subject | None
    """The loss on these inputs; None where the losses are finite and the model itself is not."""
    cure: Cure
    rows: tuple[int, ...]
    """Rows of the user's arrays (of the captured batch, if `reach` is not `data`) that are to blame."""
    batch: int
    searched: int
    """How many rows were looked at."""
    affected: int
    """How many of them are like that."""
    examples: tuple[tuple[str, tuple[float, ...]], ...] = ()
    """Numbers at the first place of trouble, by name: one entry, or the first few of a row."""
    partial: bool = False
    """Whether it is met on the last batch of an epoch because that is a small one."""
    arrived: str | None = None
    """`targets` or `inputs`, where these are not finite when they arrive and that is all there is to it."""
    event: Event | None = None
    """The expression in which it is born."""
    modes: str = ""
    """In which modes of execution it shows, where that is not all of them."""


def finite(point: Point, kind: Kind | None = None) -> bool:
    """Whether the value (or the gradient, or both) at a point is finite."""
    if kind != "gradient" and not np.isfinite(point.value):
        return False
    return kind == "value" or all(g is None or bool(np.isfinite(g).all()) for g in point.gradients)


def kind_of(point: Point) -> Kind | None:
    """What is not finite at a point; the value goes first."""
    if not np.isfinite(point.value):
        return "value"
    return None if finite(point) else "gradient"


def measure(point: Point, kind: Kind) -> float:
    """The number of a counterfactual: the value, or the largest entry of the gradient (NaN where there is one)."""
    if kind == "value":
        return point.value
    return float(max((np.max(np.abs(g), initial=0.0) for g in point.gradients if g is not None), default=0.0))


def example(arrays: dict[str, np.ndarray], at: tuple[int, ...]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """The entries of some arrays at an index (all those below it, where it names a row), of the arrays that have it."""
    found = []
    for name, array in arrays.items():
        index = at[: array.ndim]
        if index and all(i < n for i, n in zip(index, array.shape, strict=False)):
            found.append((name, tuple(float(v) for v in np.ravel(array[index])[:SHOWN])))
    return tuple(found)
