"""Weights that balance the norms of the terms' gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from lossproof.objective.weighting.base import Tensor, finite, known
from lossproof.objective.weighting.gradients import GramianWeighting, weighted_sum


@keras.saving.register_keras_serializable(package="lossproof")
class GradNorm(GramianWeighting):
    """Learns the weights of the loss so that each term's gradient has the norm that its pace of training calls for.

        total = sum over k of  w_k * L_k,   its gradient the sum of  w_k * g_k

    and after each step, with the norms taken over the weights W of the shared layer,

        G_k    = |w_k * g_k|                           the gradient's norm
        G      = mean of G_k
        r_k    = (L_k / L_k(0)) / mean of (L_i / L_i(0))      the inverse training rate; L_k(0) is the first step's value
        target = G * r_k ** alpha                      a constant: no gradient flows through it
        w_k    = w_k - learning_rate * d/dw_k sum over i of |G_i - target_i|
               = w_k - learning_rate * sign(G_k - target_k) * |g_k|
        w      = w * K / (sum of w_k)                  renormalised to the number of terms

    - L_k: the value of term k; g_k: its gradient; K: the number of terms; alpha: `alpha`, the strength with which terms that
      train slowly are pulled ahead (0 asks for equal norms).
    - W: `shared`, the weights of the layers named ("generally chosen as the last shared layer", the paper says, to save
      time). Name it where you can. Without, W is all weights that every term reaches at the step, by a gradient that is not
      0.

    The step's update uses the weights as they were before it, as in the paper's algorithm 1. The derivative of G_k is exact
    without a second backward pass: w_k enters G_k as a factor, and w_k >= 0.

    Source: Chen, Badrinarayanan, Lee & Rabinovich, "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep
    Multitask Networks", ICML 2018, equations 1 and 2 and algorithm 1. Ours: the weights move by plain gradient descent with
    a rate of their own (the paper leaves the optimizer open, its experiments use 0.025 for it); a weight that would become
    negative is set to 0, from which it recovers; a step with a value or gradient that is not finite (float16 loss scaling)
    leaves the weights alone. The paper proposes log(number of classes) for L_k(0) where the initial loss depends much on
    the initialization: `initial_losses` takes it.

    Args:
        alpha: the asymmetry, 0 or more; the paper's experiments use 0.12 to 1.5.
        learning_rate: of the weights; positive.
        shared: names of the layers whose weights are W.
        initial_losses: L_k(0) by term, positive; None takes the values of the first training step.
        name: the layer's name.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range, or (when the Trainer is built) `initial_losses` does not name all terms
            or names others.
    """

    moving: ClassVar[bool] = True

    def __init__(
        self,
        alpha: float = 1.5,
        learning_rate: float = 0.025,
        shared: str | Sequence[str] | None = None,
        initial_losses: dict[str, float] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(shared=shared, name=name)
        self.alpha = finite(self, "alpha", alpha)
        if self.alpha < 0:
            raise ValueError(f"GradNorm(alpha=...) takes 0 or more, and was given {alpha!r}.")
        self.learning_rate = finite(self, "learning_rate", learning_rate, above=0.0)
        self.initial_losses = None if initial_losses is None else dict(initial_losses)
        for value in (self.initial_losses or {}).values():
            finite(self, "initial_losses", value, above=0.0)

    def check_names(self, names: tuple[str, ...]) -> None:
        if self.initial_losses is None:
            return
        known(self, "initial_losses", self.initial_losses, names)
        missing = [name for name in names if name not in self.initial_losses]
        if missing:
            raise ValueError(
                f"GradNorm(initial_losses=...) leaves out {', '.join(map(repr, missing))}: give all or none."
            )

    def create(self) -> None:
        given = self.initial_losses
        self.loss_weights = self.state("loss_weights", [1.0] * len(self.names))
        self.first_values = self.state("first_values", [given[one] if given else 0.0 for one in self.names])
        self.started = self.state("started", 1.0 if given else 0.0)

    def weigh(self, values: Tensor, training: bool) -> Tensor:
        return ops.convert_to_tensor(self.loss_weights) * 1.0

    def gradient_weights(self) -> dict[str, Tensor]:
        """None of their own: the gradients have the weights of the loss."""
        return {}

    def combine(
        self, gradients: Sequence[Sequence[Tensor | None]], values: Sequence[Tensor], variables: Sequence[Any] = ()
    ) -> list[Tensor | None]:
        """See `Weighting.combine`."""
        by_variable = list(zip(*gradients, strict=True))
        chosen = self.chosen(variables, len(by_variable))
        weights = ops.convert_to_tensor(self.loss_weights) * 1.0
        split = ops.unstack(weights, len(gradients))
        sizes = self._norms([column for column, one in zip(by_variable, chosen, strict=True) if one])
        self._move(weights, sizes, ops.stack([ops.cast(value, "float32") for value in values]))
        return [weighted_sum(column, split) for column in by_variable]

    def get_config(self) -> dict[str, Any]:
        config = {"alpha": self.alpha, "learning_rate": self.learning_rate, "initial_losses": self.initial_losses}
        return {**super().get_config(), **config}

    def _norms(self, columns: Sequence[Sequence[Tensor | None]]) -> Tensor:
        """|g_k| over W, (K,)."""
        squares = [
            ops.stack([_square(gradient) for gradient in column])
            for column in columns
            if self.shared is not None or all(gradient is not None for gradient in column)
        ]
        if not squares:
            return ops.zeros((len(self.names),), dtype="float32")
        table = ops.stack(squares)
        if self.shared is None:
            table = table * ops.cast(ops.all(table > 0, axis=1, keepdims=True), "float32")
        return ops.sqrt(ops.sum(table, axis=0))

    def _move(self, weights: Tensor, sizes: Tensor, values: Tensor) -> None:
        started = ops.convert_to_tensor(self.started) > 0
        sound = ops.all(ops.isfinite(sizes)) & ops.all(ops.isfinite(values))
        first = ops.where(started, ops.convert_to_tensor(self.first_values), values)
        ratios = values / ops.where(first == 0, ops.ones_like(first), first)
        rates = ratios / ops.mean(ratios)
        balance = weights * sizes
        target = ops.mean(balance) * ops.power(ops.maximum(rates, 0.0), self.alpha)
        moved = ops.maximum(weights - self.learning_rate * ops.sign(balance - target) * sizes, 0.0)
        total = ops.sum(moved)
        moved = moved * (len(self.names) / ops.where(total > 0, total, ops.ones_like(total)))
        sound = sound & (total > 0) & ops.all(ops.isfinite(moved))
        self.loss_weights.assign(ops.where(sound, moved, weights))
        self.first_values.assign(ops.where(sound, first, ops.convert_to_tensor(self.first_values)))
        self.started.assign(ops.where(sound, ops.ones_like(total), ops.convert_to_tensor(self.started)))


def _square(gradient: Tensor | None) -> Tensor:
    return ops.zeros((), dtype="float32") if gradient is None else ops.sum(ops.square(ops.cast(gradient, "float32")))
