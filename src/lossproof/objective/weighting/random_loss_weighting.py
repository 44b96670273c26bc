"""Weights drawn anew for each batch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from lossproof.objective.weighting.base import Tensor, Weighting
from lossproof.objective.weighting.drawing import Drawing


@keras.saving.register_keras_serializable(package="lossproof")
class RandomLossWeighting(Drawing, Weighting):
    """Weighs the terms by fresh random numbers at each training step: the baseline that a strategy has to beat.

        total = sum over k of  w_k * L_k,    w = softmax(z),    z_k drawn from N(0, 1)

    - L_k: the value of term k;
    - w_k: its weight, positive, summing to 1 over the terms. In evaluation each is 1 / K, its mean.

    Source: Lin, Ye, Zhang & Tsang, "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning",
    TMLR 2022, algorithm 2 (loss-level weighting, with the normal distribution of its experiments).

    Args:
        seed: an integer for draws that repeat from run to run; None for others each time. The state of the generator is
            saved with the model, so that training resumes with the draws that it would have made.
        name: the layer's name.
    """

    def __init__(self, seed: int | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.seed = seed

    def create(self) -> None:
        self.generator = keras.random.SeedGenerator(self.seed)

    def weigh(self, values: Tensor, training: bool) -> Tensor:
        if not training:
            return ops.full_like(values, 1 / len(self.names))
        return ops.softmax(keras.random.normal((len(self.names),), dtype="float32", seed=self.generator))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}
