"""The shortest vector in the convex hull of the gradients."""

from __future__ import annotations

import keras
from keras import ops

from lossproof.objective.weighting.base import Tensor
from lossproof.objective.weighting.gradients import GramianWeighting
from lossproof.objective.weighting.subsets import check_count, norms, pick, solve_on_subsets


@keras.saving.register_keras_serializable(package="lossproof")
class MGDA(GramianWeighting):
    """The multiple-gradient descent algorithm: the min-norm point of the convex hull of the terms' gradients.

        combined = sum over k of a_k * g_k,    a minimises |combined| ** 2 under  a_k >= 0,  sum over k of a_k = 1

    - g_k: the gradient of term k; a_k: the logged "<term>_gradient_weight".

    Either the result is 0 and the point is Pareto stationary, or g_k . combined >= |combined| ** 2 for all k, with equality
    where a_k > 0: a common direction of descent that favours the term with the smallest gradient. A term whose gradient is
    0 stops the training of the weights that the strategy is applied to.

    The solution is exact (every face of the simplex is tried, see `subsets.py`) in place of the paper's Frank-Wolfe
    iteration, whose error falls only as 1 / iterations; float32, after the gradients are scaled to norm 1. |combined| is
    then right to about 1e-3 of the smallest norm of a gradient while the cosines differ from those of affinely dependent
    gradients by more than 1e-5; nearer ones count as dependent. At most 10 terms.

    Source: Desideri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", Comptes Rendus
    Mathematique 350, 2012; Sener & Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, equation 3.
    The latter applies it to the shared weights only (name their layers in `shared`) and also gives an upper bound,
    MGDA-UB, from gradients with respect to the shared representation. The bound is not offered: it saves backward passes,
    at the price that the representation has to be named and that it must be the terms' only common weight.

    Args:
        shared: names of the layers whose weights the terms share; None for all weights.
        name: the layer's name.

    Raises:
        ValueError: more than 10 terms, when the Trainer is built.
    """

    def check_names(self, names: tuple[str, ...]) -> None:
        check_count(self, names)

    def coefficients(self, gramian: Tensor, values: Tensor) -> Tensor:
        sizes = norms(gramian)
        unit = gramian / sizes / ops.expand_dims(sizes, 1)
        # In y_k = a_k |g_k|: minimise y' C y under d' y = 1, y >= 0, where d_k is 1 / |g_k|, here scaled to at most 1. On a
        # face, y is proportional to the solution of (C + d d') y = d: d d' is constant there, and makes the system regular
        # unless the gradients are affinely dependent.
        inverse = ops.min(sizes) / sizes
        solutions, regular = solve_on_subsets(unit + ops.expand_dims(inverse, 1) * inverse, ops.expand_dims(inverse, 1))
        solutions = solutions[:, :, 0]
        length = ops.sum(solutions * inverse, axis=1)
        regular = regular & (length > 0)
        solutions = solutions / ops.expand_dims(ops.where(regular, length, ops.ones_like(length)), 1)
        # Optimal: C y - (y' C y) d is 0 where y > 0 and at least 0 elsewhere.
        image = ops.matmul(solutions, unit)
        square = ops.sum(image * solutions, axis=1, keepdims=True)
        missed = ops.maximum(ops.max(-solutions, axis=1), ops.max(square * inverse - image, axis=1))
        best = ops.maximum(pick(solutions, ops.maximum(missed, 0.0), regular), 0.0) * inverse
        return best / ops.sum(best)
