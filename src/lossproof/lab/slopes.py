"""Autodiff held against numeric slopes: for a loss in its predictions, for the whole objective in its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof.lab.backends.base import Tensor
from lossproof.lab.chain import chain_gradients
from lossproof.lab.gradients import weight_gradients
from lossproof.lab.intent import Stops, custom_gradients
from lossproof.lab.lab import Lab
from lossproof.lab.numeric import Slope, noise_of, slope
from lossproof.lab.predictions import float_leaves, with_float_leaves
from lossproof.lab.subject import LossSubject, Subject
from lossproof.rules.rule import NotApplicable

DIRECTIONS = 4
AGREEMENT = 1e-3
"""Two float32 gradients of the same thing, summed in another order, agree better than this; only where they do not is
the (dearer) numeric slope asked. It decides nothing by itself."""


@dataclass(frozen=True)
class Comparison:
    """A slope by autodiff and the numeric one along the same direction."""

    autodiff: float
    numeric: Slope
    dtype: str
    other: float | None = None
    """The slope along the direction by another way of differentiating the same thing, where there is one."""
    gradients: tuple[np.ndarray, np.ndarray] | None = None
    """The gradient of the last bias by autodiff, and by that other way."""

    @property
    def contradicted(self) -> bool:
        return self.numeric.contradicts(self.autodiff)


def in_predictions(lab: Lab, subject: Subject) -> list[Comparison]:
    """Compare along random directions in the predictions, in float64 where the user's code allows it.

    Raises:
        NotApplicable: The gradient is the user's own (`custom_gradient`, `no_grad`), or it cannot be had.
    """
    leaves = float_leaves(lab, subject)
    if not leaves:
        raise NotApplicable("the predictions are not floating point numbers")
    with lab.backend.double_precision():
        double = _in_double(subject) if isinstance(subject, LossSubject) else None
        found = lab.attempt(lambda: _compare(lab, double, "float64")) if double is not None else None
        if found is not None and all(np.isfinite(one.numeric.error) for one in found):
            comparisons: list[Comparison] = found
            return comparisons
    return _compare(lab, subject, keras.backend.standardize_dtype(leaves[0].dtype))


def _compare(lab: Lab, subject: Subject, dtype: str) -> list[Comparison]:
    # As plain numbers: what a backend knows of how the predictions were made plays no part here.
    points = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    tensors = [lab.backend.tensor(point, dtype=dtype) for point in points]
    stops = Stops()

    def total(*leaves: Tensor) -> Tensor:
        at = with_float_leaves(lab, subject, leaves)
        return keras.ops.sum(at.unreduced()) if dtype == "float64" else at.total()

    with lab.backend.repeatable(), custom_gradients() as custom, stops.evaluation():
        value, gradients = lab.backend.gradient(total, tensors)
    if custom:
        raise NotApplicable(f"the gradient is defined by the user: {', '.join(sorted(set(custom)))}")
    if dtype == "float64" and keras.backend.standardize_dtype(value.dtype) != "float64":
        raise TypeError("the loss computes in a dtype of its own")
    centre, slopes = float(lab.number(value)), [None if g is None else lab.number(g) for g in gradients]
    random = np.random.default_rng(0)
    comparisons: list[Comparison] = []
    noise: float | None = None
    for k in range(DIRECTIONS):
        directions = [_direction(random, point, relative=k % 2 == 0) for point in points]
        along = _along(lab, total, stops, tensors, directions, dtype)
        noise = noise_of(along, dtype) if noise is None else noise
        pairs = zip(slopes, directions, strict=True)
        autodiff = sum(float(np.sum(g * d)) for g, d in pairs if g is not None)
        comparisons.append(Comparison(autodiff, slope(along, dtype, centre, noise), dtype))
    return comparisons


def _along(
    lab: Lab,
    total: Callable[..., Tensor],
    stops: Stops,
    tensors: list[Tensor],
    directions: list[np.ndarray],
    dtype: str,
) -> Callable[[float], float]:
    """The value of a subject as a function of how far its predictions are moved along a direction."""
    narrow = dtype not in ("float32", "float64")  # too coarse to add a small step in
    ways = [lab.backend.tensor(d, dtype="float32" if narrow else dtype) for d in directions]

    def along(t: float) -> float:
        wide = [keras.ops.cast(p, "float32") if narrow else p for p in tensors]
        moved = [keras.ops.cast(p + t * d, dtype) if narrow else p + t * d for p, d in zip(wide, ways, strict=True)]
        with lab.backend.repeatable(), stops.evaluation():
            value = total(*moved)
        return float(lab.number(value))

    return along


def _direction(random: np.random.Generator, point: np.ndarray, relative: bool) -> np.ndarray:
    """Random numbers times the size of each element (so that signs and domains are kept), or of all of them."""
    size = np.abs(point) if relative else np.sqrt(np.mean(point**2)) or 1.0
    return random.uniform(-1.0, 1.0, size=point.shape) * size


def _in_double(subject: LossSubject) -> Subject:
    def widen(leaf: Any) -> Any:
        floating = "float" in keras.backend.standardize_dtype(leaf.dtype)
        return keras.ops.cast(leaf, "float64") if floating else leaf

    return subject.changed(
        y_true=keras.tree.map_structure(widen, subject.y_true),
        y_pred=keras.tree.map_structure(widen, subject.y_pred),
    )


def in_weights(lab: Lab) -> Comparison | None:
    """Compare the objective's gradient in the weights with the chain rule, and let numeric slopes decide.

    None where both agree, or where this backend's losses cannot look through the predictions at all.

    Raises:
        NotApplicable: The gradient is the user's own, or there is nothing to compare.
    """
    if not lab.backend.looks_through_predictions:
        return None
    if lab.overrides_train_step:
        raise NotApplicable("a train_step of the user's makes its own gradient")
    stops = Stops()
    with custom_gradients() as custom, stops.evaluation():
        run = weight_gradients(lab)
    if custom:
        raise NotApplicable(f"the gradient is defined by the user: {', '.join(sorted(set(custom)))}")
    chain = chain_gradients(lab)
    zeros = [np.zeros(value.shape) for value in lab.model.start]
    run_full = [z if g is None else g for g, z in zip(run, zeros, strict=True)]
    chain_full = [z if g is None else g for g, z in zip(chain, zeros, strict=True)]
    sizes = [np.linalg.norm(np.concatenate([g.ravel() for g in gs] or [[0.0]])) for gs in (run_full, chain_full)]
    gaps = [a - b for a, b in zip(run_full, chain_full, strict=True)]
    gap = float(np.sqrt(sum(np.sum(g**2) for g in gaps)))
    if not np.isfinite(gap) or gap <= AGREEMENT * max(sizes):
        return None
    return _decide(lab, stops, run_full, chain_full, gaps)


def _decide(
    lab: Lab, stops: Stops, run: list[np.ndarray], chain: list[np.ndarray], gaps: list[np.ndarray]
) -> Comparison | None:
    """Numeric slope along the difference of both gradients, in the last weights first: no kink of a layer lies there."""
    start = [lab.number(value) for value in lab.model.start]
    biggest = max(float(np.linalg.norm(gap)) for gap in gaps)
    best: Comparison | None = None
    for i in reversed(range(len(gaps))):
        size = float(np.linalg.norm(gaps[i]))
        if size < 0.1 * biggest:
            continue
        direction = gaps[i] / size * max(1.0, float(np.sqrt(np.mean(start[i] ** 2)) * np.sqrt(gaps[i].size)))

        def along(t: float, i: int = i, direction: np.ndarray = direction) -> float:
            weights = list(lab.model.start)
            weights[i] = lab.backend.tensor((start[i] + t * direction).astype("float32"))
            with stops.evaluation():
                value = lab.model.objective(lab.batch, weights)
            return float(lab.number(value))

        found = Comparison(
            autodiff=float(np.sum(run[i] * direction)),
            numeric=slope(along, "float32", along(0.0)),
            dtype="float32",
            other=float(np.sum(chain[i] * direction)),
            gradients=(run[i], chain[i]) if run[i].ndim == 1 else None,
        )
        if found.contradicted:
            return found
        best = best or found
        if np.isfinite(found.numeric.error):
            return found
    return best
