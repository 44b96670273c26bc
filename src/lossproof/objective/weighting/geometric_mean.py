"""The geometric mean of the terms."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from lossproof.objective.steps.replicas import sum_over_replicas
from lossproof.objective.weighting.base import Tensor, Weighting


@keras.saving.register_keras_serializable(package="lossproof")
class GeometricMean(Weighting):
    """The K-th root of the product of the terms' values, so that a term's scale does not matter.

        total = (L_1 * ... * L_K) ** (1 / K)

    - L_k: the value of term k, positive;
    - K: the number of terms.

    Its gradient is the sum of total / (K * L_k) times the gradient of L_k. Those factors are the logged weights; they also
    sum the values to the total, so the weighted sum of the terms is the loss.

    The mean is not defined for negative values, nor its gradient where a value is 0. There the loss reads NaN, and the
    weights of the model are not moved by the terms (a NaN gradient would destroy them).

    Source: Chennupati, Sistu, Yogamani & Rawashdeh, "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss
    Strategy for Multi-Task Learning", CVPR Workshops 2019, equation 2. The paper's focused variant, which multiplies some
    losses in twice, is `weight` of a term no longer: a constant factor of a term only scales the mean.

    Args:
        name: the layer's name.
    """

    def weigh(self, values: Tensor, training: bool) -> Tensor:
        positive = ops.all(values > 0)
        safe = ops.where(positive, values, ops.ones_like(values))
        mean = ops.exp(ops.mean(ops.log(safe)))
        return ops.where(positive, mean / (len(self.names) * safe), ops.zeros_like(values))

    def total(self, values: Sequence[Tensor], training: bool = True) -> Tensor:
        """See `Weighting.total`; NaN where a value is not positive."""
        seen = sum_over_replicas(ops.stop_gradient(ops.stack([ops.cast(value, "float32") for value in values])))
        # A constant beside weights of 0: what is reported is NaN, and what is trained on has no gradient.
        total = super().total(values, training)
        return ops.where(ops.all(seen > 0), total, total + float("nan"))
