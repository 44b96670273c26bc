"""Gradients for intermediate tensors on JAX.

Reverse mode leaves nothing to ask afterwards, so each marked value goes through an identity whose backward pass notes
what comes in. What is written into a value's place by several identities (a name that is read twice) adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossproof import keras_private
from lossproof.lab.backends.base import Tensor


class JaxInnerGradients:
    """See `inner.InnerGradients`."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []  # so that their ids stay theirs
        self._sources: dict[int, int] = {}
        self._found: dict[int, np.ndarray] = {}

    def mark(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, jax.core.Tracer) or not jnp.issubdtype(tensor.dtype, jnp.floating):
            return tensor
        if id(tensor) in self._sources:
            return tensor
        key = id(tensor)

        @jax.custom_vjp  # type: ignore[untyped-decorator]
        def through(value: Tensor) -> Tensor:
            return value

        def forward(value: Tensor) -> tuple[Tensor, None]:
            return value, None

        def backward(_: None, cotangent: Tensor) -> tuple[Tensor]:
            if not isinstance(cotangent, jax.core.Tracer):
                found = np.asarray(cotangent).astype("float64")
                self._found[key] = self._found[key] + found if key in self._found else found
            return (cotangent,)

        through.defvjp(forward, backward)
        marked = through(tensor)
        with suppress(AttributeError):  # a tracer may have no room for it
            keras_private.set_mask(marked, keras_private.mask_of(tensor))
        self._kept += [tensor, marked]
        self._sources[id(marked)] = key
        return marked

    def differentiate(self, run: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
        def total(*tensors: Tensor) -> Tensor:
            return jnp.sum(run(*tensors))

        jax.grad(total, argnums=tuple(range(len(inputs))))(*inputs)

    def in_steps(self, traced: Callable[[Any], Any]) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        def make(original: Any) -> Any:
            return lambda function, *args, **kwargs: original(traced(function), *args, **kwargs)

        return [(jax, "value_and_grad", make), (jax, "grad", make)]

    def of(self, tensor: Tensor) -> np.ndarray | None:
        return self._found.get(self._sources.get(id(tensor), id(tensor)))
