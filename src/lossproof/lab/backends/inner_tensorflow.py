"""Gradients for intermediate tensors on TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lossproof.lab.backends.base import Tensor


class TensorFlowInnerGradients:
    """See `inner.InnerGradients`."""

    def __init__(self) -> None:
        self._marked: dict[int, Tensor] = {}
        self._found: dict[int, Tensor] = {}

    def mark(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, (tf.Tensor, tf.Variable)) and tensor.dtype.is_floating:
            self._marked.setdefault(id(tensor), tensor)
        return tensor

    def differentiate(self, run: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for tensor in inputs:
                tape.watch(tensor)
            value = tf.reduce_sum(run(*inputs))
        marked = list(self._marked.values())
        self._keep(marked, tape.gradient(value, marked))

    def in_steps(self, traced: Callable[[Any], Any]) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        def make(original: Any) -> Any:
            def gradient(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
                # One call for both: a tape can be asked but once.
                marked = [one for one in self._marked.values() if isinstance(one, tf.Tensor)]
                asked, inner = original(tape, target, [sources, marked], *args, **kwargs)
                self._keep(marked, inner)
                return asked

            return gradient

        return [(tf.GradientTape, "gradient", make)]

    def _keep(self, marked: list[Tensor], gradients: Sequence[Tensor | None]) -> None:
        for tensor, gradient in zip(marked, gradients, strict=True):
            if gradient is not None:
                known = self._found.get(id(tensor))
                dense = tf.convert_to_tensor(gradient)
                self._found[id(tensor)] = dense if known is None else known + dense

    def of(self, tensor: Tensor) -> np.ndarray | None:
        found = self._found.get(id(tensor))
        return None if found is None else np.asarray(tf.cast(found, tf.float64))
