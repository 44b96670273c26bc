"""Regularizers as functions of a weight: given the variable, as Keras does, and given its value alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lossproof.capture.place import place_of_function
from lossproof.findings.finding import Place
from lossproof.lab.lab import Lab
from lossproof.lab.noise import rounding

_STEPS = 2
"""Random steps of the weight that are tried; a penalty that stands still under each of them does not see the weight."""


@dataclass(frozen=True)
class Unmoved:
    """A regularizer that does not notice when its weight moves, though it would if it were given the value."""

    weight: str
    size: int
    distance: float
    """Length of the step."""
    penalty: float
    """At the captured weight."""
    moved: float
    """After the step, as Keras calls it: with the variable."""
    moved_value: float
    """After the same step, given the moved value while the variable stays."""
    where: Place | None


def unmoved(lab: Lab) -> tuple[Unmoved, ...]:
    """The regularizers that hold on to the variable itself where they mean to keep its value."""
    found = []
    for variable, start in zip(lab.model.trainable, lab.model.start, strict=True):
        regularizer = getattr(variable, "regularizer", None)
        if callable(regularizer):
            one = lab.attempt(partial(_unmoved, lab, variable, start, regularizer))
            if one is not None:
                found.append(one)
    return tuple(found)


def _unmoved(lab: Lab, variable: Any, start: Any, regularizer: Any) -> Unmoved | None:
    at = lab.number(start).astype("float32")
    scale = float(np.sqrt(np.mean(np.square(at)))) or 1.0
    random = np.random.default_rng(0)

    def penalty(weight: Any, held: np.ndarray) -> float:
        """The penalty of `weight` while the variable has the value `held`."""
        values = [lab.backend.tensor(held) if one is variable else kept for one, kept in pairs]
        with lab.undisturbed(), lab.model.scope(values):
            return float(lab.number(regularizer(weight)))

    pairs = list(zip(lab.model.trainable, lab.model.start, strict=True))
    first: Unmoved | None = None
    here = penalty(variable, at)
    by_value = penalty(lab.backend.tensor(at), at)
    for _ in range(_STEPS):
        step = (scale * random.normal(size=at.shape)).astype("float32")
        moved = penalty(variable, at + step)
        moved_value = penalty(lab.backend.tensor(at + step), at)
        if not np.isfinite([here, by_value, moved, moved_value]).all():
            return None
        noise = rounding("float32", max(map(abs, (here, by_value, moved, moved_value))), at.size)
        if abs(moved - here) > noise or abs(moved_value - by_value) <= 4 * noise:
            return None
        if first is None:
            length = float(np.sqrt(np.sum(np.square(step))))
            where = place_of_function(regularizer)
            first = Unmoved(variable.path, at.size, length, here, moved, moved_value, where)
    return first
