"""Gradient surgery: each gradient loses what points against another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from lossproof.objective.weighting.base import Tensor
from lossproof.objective.weighting.drawing import Drawing
from lossproof.objective.weighting.gradients import GramianWeighting


@keras.saving.register_keras_serializable(package="lossproof")
class PCGrad(Drawing, GramianWeighting):
    """Projects each term's gradient onto the normal plane of every other that it conflicts with, and sums them.

        for each term i, h_i = g_i at first; for each j other than i, in random order:
            if h_i . g_j < 0:   h_i = h_i - (h_i . g_j) / (g_j . g_j) * g_j
        combined = h_1 + ... + h_K

    - g_i: the gradient of term i; h_i: what is left of it. Projections are onto the plane of the original g_j.

    With two terms the result conflicts with neither (its product with each g_i is at least 0); with more, a later
    projection can bring back what an earlier one took away. All h_i are sums of the g_j, so the algorithm is carried out
    on the K x K coefficients. A zero gradient projects nothing.

    Source: Yu, Kumar, Gupta, Levine, Hausman & Finn, "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, algorithm 1.
    As there, the result is a sum, not a mean.

    Args:
        shared: names of the layers whose weights the terms share; None for all weights (as in the paper's own code, with
            zeros where a term does not reach).
        seed: an integer for orders that repeat from run to run; None for others each time. The state of the generator is
            saved. With two terms the order does not matter.
        name: the layer's name.
    """

    def __init__(
        self, shared: str | Sequence[str] | None = None, seed: int | None = None, name: str | None = None
    ) -> None:
        super().__init__(shared=shared, name=name)
        self.seed = seed

    def create(self) -> None:
        # Two terms have one order each: no generator, no state.
        self.generator = keras.random.SeedGenerator(self.seed) if len(self.names) > 2 else None

    def coefficients(self, gramian: Tensor, values: Tensor) -> Tensor:
        terms = len(self.names)
        if self.generator is None:
            order = ops.convert_to_tensor([[1, 0], [0, 1]], dtype="int32")
        else:
            order = ops.argsort(keras.random.uniform((terms, terms), seed=self.generator), axis=1)
        return surgery(gramian, order)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


def surgery(gramian: Tensor, order: Tensor) -> Tensor:
    """The coefficients (K,) of algorithm 1 with the order of projections given.

    Args:
        gramian: (K, K) float32.
        order: (K, K) integers; row i is the permutation of the terms in which h_i is projected (i itself is passed over).
    """
    terms = int(gramian.shape[0])
    diagonal = ops.diagonal(gramian)
    eye = ops.eye(terms, dtype="float32")
    kept = eye  # row i: the coefficients of h_i
    for step in range(terms):
        other = ops.one_hot(order[:, step], terms, dtype="float32")
        product = ops.sum(ops.matmul(kept, gramian) * other, axis=1)
        square = ops.sum(other * diagonal, axis=1)
        conflict = (product < 0) & (square > 0) & (ops.sum(other * eye, axis=1) == 0)
        share = ops.where(
            conflict, product / ops.where(square > 0, square, ops.ones_like(square)), ops.zeros_like(square)
        )
        kept = kept - ops.expand_dims(share, 1) * other
    return ops.sum(kept, axis=0)
