"""The direction near the mean gradient that serves the worst-off term best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from lossproof.objective.weighting.base import Tensor, finite
from lossproof.objective.weighting.gradients import GramianWeighting
from lossproof.objective.weighting.subsets import check_count, norms, pick, solve_on_subsets


@keras.saving.register_keras_serializable(package="lossproof")
class CAGrad(GramianWeighting):
    """Conflict-averse gradient descent: the best for the worst-off term within a ball around the mean gradient.

        combined = the d that maximises  min over k of g_k . d  under  |d - g_0| <= c * |g_0|

    - g_k: the gradient of term k; g_0: the mean of the K gradients; c: `c`, 0 for plain descent on the mean.

    The paper's dual form: combined = g_0 + c |g_0| g_w / |g_w|, where g_w = sum over k of w_k g_k and w minimises
    g_w . g_0 + c |g_0| |g_w| over the simplex. With c < 1 every fixed point is a stationary point of the mean.

    Where the optimum is g_w = 0 (a term with zero gradient, for one) the paper's formula is 0 / 0, and several d are
    optimal, with min over k of g_k . d = 0. Then combined is the one nearest to g_0.

    The solution is exact: for each set of terms that may be the worst off, d follows from a linear system and one quadratic
    equation, and every set is tried (see `subsets.py`), in place of the iterative solver of the paper's code. float32,
    after the gradients are scaled to norm 1; combined is right to about 1e-3 of |g_0| while the gradients' cosines differ
    from those of linearly dependent ones by more than 1e-5. At most 10 terms.

    Source: Liu, Liu, Jin, Stone & Liu, "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021,
    equations 3 and 4 and algorithm 1. The paper's code also offers to divide the result by 1 + c ** 2, which is the
    learning rate's business here.

    Args:
        c: the radius of the ball over |g_0|, at least 0 and below 1; the paper's experiments use 0.2 to 0.5.
        shared: names of the layers whose weights the terms share; None for all weights.
        name: the layer's name.

    Raises:
        TypeError: `c` is not a number.
        ValueError: `c` is outside of 0 <= c < 1, or (when the Trainer is built) there are more than 10 terms.
    """

    def __init__(self, c: float = 0.5, shared: str | Sequence[str] | None = None, name: str | None = None) -> None:
        super().__init__(shared=shared, name=name)
        self.c = finite(self, "c", c)
        if not 0 <= self.c < 1:
            raise ValueError(f"CAGrad(c=...) takes a number from 0 to below 1, and was given {c!r}.")

    def check_names(self, names: tuple[str, ...]) -> None:
        check_count(self, names)

    def coefficients(self, gramian: Tensor, values: Tensor) -> Tensor:
        if self.c == 0:
            return ops.full_like(values, 1 / len(self.names))
        terms = len(self.names)
        sizes = norms(gramian)
        unit = gramian / sizes / ops.expand_dims(sizes, 1)
        # In units of the largest norm: |g_k|, the products of the unit gradients with g_0, and |g_0|.
        relative = sizes / ops.max(sizes)
        along = ops.matmul(unit, relative) / terms
        radius = self.c * ops.sqrt(ops.maximum(ops.sum(along * relative) / terms, 0.0))
        inverse = ops.min(sizes) / sizes
        both, regular = solve_on_subsets(unit, ops.stack([inverse, along], axis=1))
        first, second = both[:, :, 0], both[:, :, 1]
        best, missed = _at_radius(unit, along, inverse, radius, (first, second, regular))
        nearest = _nearest(unit, along, second, regular)
        best = ops.where(missed <= 1e-3 * radius, best, nearest)
        return 1 / terms + best / relative

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "c": self.c}


def _at_radius(
    unit: Tensor, along: Tensor, inverse: Tensor, radius: Tensor, solved: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Combined = g_0 + p with p = sum of y_k * (unit gradient k), y >= 0 and |p| = radius: y, and by how much it fails.

    On the active set all g_k . combined are the same m, so C y = m * inverse - along there. Of the two m that give |p| =
    radius it is the larger, as m is what is maximised.
    """
    first, second, regular = solved
    a = ops.sum(first * inverse, axis=1)
    b = ops.sum(second * inverse, axis=1)
    h = ops.sum(second * along, axis=1)
    possible = regular & (a > 0)
    a = ops.where(possible, a, ops.ones_like(a))
    level = ops.expand_dims((b + ops.sqrt(ops.maximum(b * b - a * (h - radius * radius), 0.0))) / a, 1)
    solutions = level * first - second
    image = ops.matmul(solutions, unit)
    length = ops.sqrt(ops.maximum(ops.sum(image * solutions, axis=1), 0.0))
    lower = ops.max(level * inverse - along - image, axis=1)
    missed = ops.maximum(ops.maximum(ops.max(-solutions, axis=1), lower), ops.abs(length - radius))
    best = pick(solutions, missed, possible)
    return ops.maximum(best, 0.0), ops.min(ops.where(possible, missed, ops.full_like(missed, 3e38)))


def _nearest(unit: Tensor, along: Tensor, second: Tensor, regular: Tensor) -> Tensor:
    """The y of the direction nearest to g_0 that conflicts with no gradient."""
    solutions = -second
    missed = ops.maximum(ops.max(-solutions, axis=1), ops.max(-along - ops.matmul(solutions, unit), axis=1))
    return ops.maximum(pick(solutions, ops.maximum(missed, 0.0), regular), 0.0)
