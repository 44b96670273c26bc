"""What a train step with a gradient per term asks of the Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras

Tensor = Any


@dataclass(frozen=True)
class Parts:
    """A loss before it is summed."""

    values: tuple[Tensor, ...]
    """K scalars: the terms' reduced values, each times the term's own weight, in the order of the terms."""

    added: Tensor | None
    """The sum of the added losses (regularizers, `add_loss` of any layer), None where there are none."""

    terms: tuple[Tensor, ...]
    """The terms' reduced values, unweighted."""

    weights: tuple[Tensor | float, ...]
    """The terms' own weights."""


class Stepped(Protocol):
    """The Trainer, as the steps see it. Both methods run where the state is mapped (on JAX in a `StatelessScope`)."""

    weighting: Any

    def loss_parts(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Parts:
        """The parts of the loss, in the trace of the forward pass; counts the step.

        `compute_loss` is then `weighting.total(parts.values, training) + parts.added`, followed by `track`.
        """
        ...

    def track(self, parts: Parts, x: Any) -> None:
        """Take the terms, `weighting.term_weights()` and `weighting.gradient_weights()` into the logs.

        To be called after the last of the two is set: after `total`, or after `combine` where that is called.
        """
        ...


def scales(optimizer: Any) -> bool:
    """Whether the optimizer scales the loss; else gradients need not be unscaled for a strategy, which costs passes over them."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or optimizer.loss_scale_factor is not None


def sum_with(combined: Sequence[Tensor | None], added: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The sum of two gradients by variable; None where both are."""
    return [
        one if other is None else other if one is None else one + other
        for one, other in zip(combined, added, strict=True)
    ]
