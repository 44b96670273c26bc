"""Runs a strategy on gradients given as rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from lossproof.objective.weighting.base import Weighting

CUT = 4


def names(terms: int) -> tuple[str, ...]:
    return tuple(f"term{k}" for k in range(terms))


def prepared(strategy: Weighting, terms: int) -> Weighting:
    strategy.prepare(names(terms))
    return strategy


def combined(strategy: Weighting, gradients: np.ndarray, values: Any = None) -> np.ndarray:
    """What the strategy makes of the rows, given to it as those of two variables; float64 for what is tested with it."""
    terms = len(gradients)
    if not strategy.names:
        strategy.prepare(names(terms))
    rows = gradients.astype("float32")
    given = [[ops.convert_to_tensor(row[:CUT].reshape(2, CUT // 2)), ops.convert_to_tensor(row[CUT:])] for row in rows]
    found = strategy.combine(given, [1.0] * terms if values is None else list(values))
    return np.concatenate([ops.convert_to_numpy(one).reshape(-1) for one in found]).astype("float64")


def numbers(tensors: dict[str, Any]) -> np.ndarray:
    return np.array([float(ops.convert_to_numpy(one)) for one in tensors.values()])


def value(tensor: Any) -> float:
    return float(ops.convert_to_numpy(tensor))


def assert_no_conflict(gradients: np.ndarray, direction: np.ndarray, tolerance: float = 3e-5) -> None:
    """To first order, no term rises along minus the direction."""
    scale = np.linalg.norm(gradients, axis=1) * max(np.linalg.norm(gradients, axis=1).max(), 1e-30)
    assert (gradients @ direction >= -tolerance * scale).all()
