"""Gradients for intermediate tensors on PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from lossproof import keras_private
from lossproof.lab.backends.base import Tensor


class TorchInnerGradients:
    """See `inner.InnerGradients`."""

    def __init__(self) -> None:
        self._marked: dict[int, Tensor] = {}
        self._found: dict[int, Tensor] = {}

    def mark(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
            self._marked.setdefault(id(tensor), tensor)
        return tensor

    def differentiate(self, run: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
        leaves = [tensor.detach().clone().requires_grad_(True) for tensor in inputs]
        for given, leaf in zip(inputs, leaves, strict=True):
            keras_private.set_mask(leaf, keras_private.mask_of(given))
        with torch.enable_grad():
            self._take(run(*leaves).sum())

    def in_steps(self, traced: Callable[[Any], Any]) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        def make(original: Any) -> Any:
            def backward(tensor: Any, *args: Any, **kwargs: Any) -> Any:
                self._take(tensor.sum(), keep=True)
                return original(tensor, *args, **kwargs)

            return backward

        return [(torch.Tensor, "backward", make)]

    def _take(self, value: Tensor, keep: bool = False) -> None:
        if not value.requires_grad:
            return
        marked = list(self._marked.values())
        found = torch.autograd.grad(value, marked, allow_unused=True, retain_graph=keep)
        for tensor, gradient in zip(marked, found, strict=True):
            if gradient is not None:
                known = self._found.get(id(tensor))
                self._found[id(tensor)] = gradient if known is None else known + gradient

    def of(self, tensor: Tensor) -> np.ndarray | None:
        found = self._found.get(id(tensor))
        return None if found is None else found.detach().cpu().to(torch.float64).numpy()
