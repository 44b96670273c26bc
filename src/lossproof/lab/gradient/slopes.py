"""Autodiff held against numeric slopes, for a loss in its predictions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace

import keras
import numpy as np

from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import quiet
from lossproof.lab.failure import needed
from lossproof.lab.gradient.intent import Stops, custom_gradients
from lossproof.lab.gradient.numeric import Slope, holds_closer, noise_of, slope
from lossproof.lab.lab import Lab
from lossproof.lab.predictions import float_leaves, with_float_leaves
from lossproof.lab.restated import widened
from lossproof.lab.subject import Subject
from lossproof.rules.rule import NotApplicable

DIRECTIONS = 4


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
    deaf: bool = False
    """Whether a gradient that the user defined ignores the gradient that arrives from above."""

    @property
    def contradicted(self) -> bool:
        return self.numeric.contradicts(self.autodiff)


def slopes_in_predictions(lab: Lab, subject: Subject) -> Comparison | None:
    """Compare along random directions in the predictions, in float64 where the user's code allows it.

    None where autodiff is not contradicted: by most of the directions that have a numeric slope, and by two at least.

    Raises:
        NotApplicable: The gradient is the user's own (`custom_gradient`, `no_grad`), or it cannot be had.
    """
    with needed("the gradient cannot be computed"):
        leaves = float_leaves(lab, subject)
    if not leaves:
        raise NotApplicable("the predictions are not floating point numbers")
    contradiction = None
    # The user's intentions are asked for only where there is something to explain: it takes longer.
    with needed("the gradient cannot be computed"):
        for careful in (False, True):
            contradiction = _contradiction(_compared(lab, subject, careful))
            if contradiction is None:
                break
    return contradiction


def _contradiction(comparisons: list[Comparison]) -> Comparison | None:
    measured = [one for one in comparisons if np.isfinite(one.numeric.error)]
    wrong = [one for one in measured if one.contradicted]
    return wrong[0] if len(wrong) > max(1, len(measured) // 2) else None


def _compared(lab: Lab, subject: Subject, careful: bool) -> list[Comparison]:
    with lab.backend.double_precision():
        found = lab.attempt(lambda: _compare(lab, widened(subject), "float64", careful))
    if found is None:  # the user's code insists on a dtype
        return _compare(lab, subject, "float32", careful)
    comparisons: list[Comparison] = found
    return comparisons


def _compare(lab: Lab, subject: Subject, dtype: str, careful: bool) -> list[Comparison]:
    # As plain numbers: what a backend knows of how the predictions were made plays no part here.
    points = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    tensors = [lab.backend.tensor(point, dtype=dtype) for point in points]
    stops = Stops()
    given = [keras.backend.standardize_dtype(leaf.dtype) for leaf in float_leaves(lab, subject)]

    def total(*leaves: Tensor) -> Tensor:
        own = leaves if dtype == "float64" else [keras.ops.cast(one, d) for one, d in zip(leaves, given, strict=True)]
        at = with_float_leaves(lab, subject, own)
        # The mean, as Keras takes it: a gradient that ignores the factor 1 / N from above shows.
        if dtype != "float64":
            return at.total()
        values = at.unreduced()
        return keras.ops.sum(values) / max(1, int(np.prod(values.shape)))

    run = total if careful else lab.backend.stages(total, "jit" if lab.backend.name == "jax" else "eager")

    def at(moved: list[Tensor]) -> float:
        with quiet(lab), stops.evaluation() if careful else nullcontext():
            return float(lab.number(run(*moved)))

    with ExitStack() as stack:
        custom = stack.enter_context(custom_gradients()) if careful else []
        if careful:
            stack.enter_context(lab.backend.interpreted())
        # Differentiating gives the value along with the gradient, unless another program computes it there.
        held = at(tensors) if careful or lab.backend.name == "jax" else None
        with quiet(lab):
            value, gradients = lab.backend.gradient(run, tensors)
        centre = float(lab.number(value)) if held is None else held
        if dtype == "float64" and keras.backend.standardize_dtype(value.dtype) != "float64":
            raise TypeError("the loss computes in a dtype of its own")
        slopes = [np.zeros(1) if gradient is None else lab.number(gradient) for gradient in gradients]
        if not any(one.any() for one in slopes):
            raise NotApplicable("autodiff finds no gradient at all, which is LP202's question")
        comparisons = _along_directions(lab, at, dtype, centre, points, slopes)
        deaf = bool(custom) and _deaf(lab, run, tensors)
    if deaf:
        comparisons = [replace(one, deaf=True) for one in comparisons]
    elif custom:
        raise NotApplicable(f"the gradient is defined by the user: {', '.join(sorted(set(custom)))}")
    if stops.unheld:
        raise NotApplicable("the gradient is stopped where its value cannot be held")
    return comparisons


def _deaf(lab: Lab, function: Callable[..., Tensor], tensors: list[Tensor]) -> bool:
    """Whether a part of the gradient stays the same when the loss is multiplied by 1, -1, 2 and -2.

    The derivative of `c * loss` is `c` times that of the loss, whatever surrogate a custom gradient puts in its place;
    one that is clipped on purpose is odd in `c` at least.
    """

    def scaled(factor: float) -> list[np.ndarray]:
        with quiet(lab):
            _, gradients = lab.backend.gradient(lambda *moved: factor * function(*moved), tensors)
        return [np.zeros(1) if gradient is None else lab.number(gradient) for gradient in gradients]

    once = [a + b for a, b in zip(scaled(1.0), scaled(-1.0), strict=True)]
    twice = [a + b for a, b in zip(scaled(2.0), scaled(-2.0), strict=True)]
    size = max(float(np.abs(one).max(initial=0.0)) for one in scaled(1.0))
    rounding = 64.0 * float(np.finfo("float32").eps) * size
    constant = all(bool((np.abs(a - b) <= rounding).all()) for a, b in zip(once, twice, strict=True))
    return constant and any(bool((np.abs(one) > rounding).any()) for one in once)


def _along_directions(
    lab: Lab,
    function: Callable[[list[Tensor]], float],
    dtype: str,
    centre: float,
    points: list[np.ndarray],
    slopes: list[np.ndarray],
) -> list[Comparison]:
    random = np.random.default_rng(0)
    starts = [lab.backend.tensor(point, dtype=dtype) for point in points]
    comparisons: list[Comparison] = []
    noise: float | None = None
    for k in range(DIRECTIONS):
        directions = [_direction(random, point, relative=k % 2 == 0) for point in points]
        ways = [lab.backend.tensor(direction, dtype=dtype) for direction in directions]

        def along(t: float, ways: list[Tensor] = ways) -> float:
            return function([p + t * d for p, d in zip(starts, ways, strict=True)])

        noise = noise_of(along, dtype) if noise is None else noise
        autodiff = sum(float(np.sum(g * d)) for g, d in zip(slopes, directions, strict=True))
        found = slope(along, dtype, centre, noise)
        if found.contradicts(autodiff) and not holds_closer(along, dtype, centre, noise, found, autodiff):
            found = replace(found, error=np.inf)
        comparisons.append(Comparison(autodiff, found, dtype))
    return comparisons


def slope_of_entry(lab: Lab, subject: Subject, leaf: int, index: tuple[int, ...]) -> Slope:
    """The numeric derivative of a subject's total for one entry of its predictions, in float64 where its code allows it.

    Args:
        lab: The laboratory.
        subject: What is differentiated.
        leaf: Which of the floating point predictions.
        index: The entry.
    """

    def measured(at: Subject, dtype: str) -> Slope:
        points = [lab.number(one).astype("float64") for one in float_leaves(lab, at)]
        like = [keras.backend.standardize_dtype(one.dtype) for one in float_leaves(lab, at)]
        size = abs(points[leaf][index]) or float(np.sqrt(np.mean(points[leaf] ** 2))) or 1.0

        def along(t: float) -> float:
            moved = [point.copy() for point in points]
            moved[leaf][index] += t * size
            tensors = [lab.backend.tensor(one, dtype=d) for one, d in zip(moved, like, strict=True)]
            with quiet(lab):
                return float(lab.number(with_float_leaves(lab, at, tensors).total()))

        found = slope(along, dtype, along(0.0))
        return replace(found, value=found.value / size, error=found.error / size)

    with lab.backend.double_precision():
        found = lab.attempt(lambda: measured(widened(subject), "float64"))
    return found if found is not None else measured(subject, "float32")


def _direction(random: np.random.Generator, point: np.ndarray, relative: bool) -> np.ndarray:
    """Random numbers times the size of each element (so that signs and domains are kept), or of all of them."""
    size = np.abs(point) if relative else np.sqrt(np.mean(point**2)) or 1.0
    return random.uniform(-1.0, 1.0, size=point.shape) * size
