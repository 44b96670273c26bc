"""Gradients of a loss for what is computed on the way to it; each backend has one beside its adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Tensor = Any


class InnerGradients(Protocol):
    """Marks tensors while something runs, and knows afterwards the gradient of what was differentiated for them."""

    def mark(self, tensor: Tensor) -> Tensor:
        """The tensor to go on with: the same one, or one of the same value through which the gradient is heard."""

    def differentiate(self, run: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
        """Run `run(*inputs)`, which marks what it likes, and differentiate the sum of what it returns.

        Raises:
            Whatever the function raises under differentiation.
        """

    def in_steps(self, traced: Callable[[Any], Any]) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        """Replacements, as in `Backend.differentiation`, so that where a step of the user's differentiates, the gradients
        for marked tensors are taken as well. `traced` makes the twin of a function that is differentiated."""

    def of(self, tensor: Tensor) -> np.ndarray | None:
        """The gradient for a marked tensor; None where autodiff does not connect it."""
