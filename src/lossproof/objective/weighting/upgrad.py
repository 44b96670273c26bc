"""Jacobian descent: each gradient is projected onto the directions that conflict with none."""

from __future__ import annotations

import keras
from keras import ops

from lossproof.objective.weighting.base import Tensor
from lossproof.objective.weighting.gradients import GramianWeighting
from lossproof.objective.weighting.subsets import check_count, cosines, norms, pick, solve_on_subsets


@keras.saving.register_keras_serializable(package="lossproof")
class UPGrad(GramianWeighting):
    """The mean of the terms' gradients, each projected onto the dual cone of all of them.

        combined = (1 / K) * sum over i of  P(g_i)
        P(x)     = the nearest point to x among the d with  g_j . d >= 0  for all j

    - g_i: the gradient of term i; K: the number of terms.

    A small enough step along the result raises no term (g_j . combined >= 0 for all j), and it is linear in the scale of
    each gradient: multiplying g_i by c > 0 multiplies P(g_i) alone, so that small gradients have a proportionate say.
    Without conflict it is the mean of the gradients.

    Each projection is P(g_i) = sum over j of v_j * g_j with the v that minimises v' G v under v >= e_i, where G_ij = g_i .
    g_j and e_i is 1 at i, else 0 (the paper's proposition 1). All are solved exactly by trying every subset of active
    constraints (see `subsets.py`), in float32 after the gradients are scaled to norm 1. The combined gradient is then
    right to about 1e-4 of the mean norm of the gradients while the gradients' cosines differ from those of linearly
    dependent ones by more than 1e-5; nearer ones count as dependent. At most 10 terms.

    Source: Quinton & Rey, "Jacobian Descent for Multi-Objective Optimization", arXiv 2406.16232, equation 3 and section 3.
    The paper's preference vector is the mean's here; give terms weights of their own instead.

    Args:
        shared: names of the layers whose weights the terms share; None for all weights.
        name: the layer's name.

    Raises:
        ValueError: more than 10 terms, when the Trainer is built.
    """

    def check_names(self, names: tuple[str, ...]) -> None:
        check_count(self, names)

    def coefficients(self, gramian: Tensor, values: Tensor) -> Tensor:
        terms = len(self.names)
        unit, sizes = cosines(gramian), norms(gramian)
        # Column i: y >= 0 with  C y + C e_i >= 0  and  y' (C y + C e_i) = 0, in gradients of norm 1.
        solutions, regular = solve_on_subsets(unit, -unit)
        slack = ops.matmul(unit, solutions) + unit
        missed = ops.maximum(ops.max(-solutions, axis=1), ops.max(-slack, axis=1))
        active = ops.maximum(pick(solutions, ops.maximum(missed, 0.0), regular), 0.0)
        chosen = (active + ops.eye(terms, dtype="float32")) * ops.expand_dims(sizes, 0)
        return ops.sum(chosen, axis=1) / sizes / terms
