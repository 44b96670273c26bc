"""The JAX adapter."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lossproof import keras_private
from lossproof.capture.userfiles import holds_user_function
from lossproof.lab.backends.base import Mode, Tensor
from lossproof.lab.backends.host import host_generators, kept_host_generators
from lossproof.lab.backends.inner import InnerGradients
from lossproof.lab.backends.inner_jax import JaxInnerGradients
from lossproof.lab.replace import replaced


class JaxBackend:
    """See `base.Backend`."""

    name = "jax"
    has_values_while_differentiating = False
    looks_through_predictions = False

    def tensor(self, array: Any, dtype: str | None = None) -> Tensor:
        return jnp.asarray(array, dtype=dtype)

    def numpy(self, tensor: Tensor) -> np.ndarray:
        if getattr(tensor, "dtype", None) in (jnp.bfloat16, jnp.float16):
            tensor = jnp.asarray(tensor, dtype="float32")
        return np.asarray(tensor)

    def detached(self, tensor: Tensor) -> Tensor:
        return tensor  # concrete arrays have no history

    def is_tensor(self, value: object) -> bool:
        return isinstance(value, jax.Array)

    def is_concrete(self, value: object) -> bool:
        return isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)

    def gradient(self, function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor | None]]:
        def total(*tensors: Tensor) -> Tensor:
            return jnp.sum(function(*tensors))

        value, gradients = jax.value_and_grad(total, argnums=tuple(range(len(inputs))))(*inputs)
        return value, list(gradients)

    def stages(self, function: Callable[..., Any], mode: Mode) -> Callable[..., Any]:
        return function if mode == "eager" else jax.jit(function)

    def stepped(
        self, function: Callable[..., Any], mode: Mode, examples: Sequence[Tensor], open_rows: bool
    ) -> Callable[..., Any]:
        return self.stages(function, mode)

    def rewrites(self) -> Sequence[str]:
        return ()

    def without_rewrite(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def strategy_of(self, model: Any) -> Any:
        return None

    def replica(self) -> int:
        return 0

    def simulated_replicas(self, number: int) -> AbstractContextManager[None]:
        return nullcontext()

    def untraced(self, function: Callable[..., None]) -> Callable[..., None]:
        return function

    def connected(self, value: Tensor, sources: Sequence[Tensor]) -> bool | None:
        return None

    @contextmanager
    def repeatable(self) -> Iterator[None]:
        # JAX has no global generator of its own; Keras's seed generators are variables.
        with host_generators():
            yield

    def gradients(
        self, function: Callable[..., tuple[Sequence[Tensor], Any]], inputs: Sequence[Tensor]
    ) -> tuple[list[list[Tensor | None]], Any]:
        def scalars(*tensors: Tensor) -> tuple[list[Tensor], Any]:
            found, rest = function(*tensors)
            return list(found), rest

        values, pull, rest = jax.vjp(scalars, *inputs, has_aux=True)
        rows = []
        for k in range(len(values)):
            seeds = [jnp.ones_like(value) if i == k else jnp.zeros_like(value) for i, value in enumerate(values)]
            rows.append(list(pull(seeds)))
        return rows, rest

    def taken(self, arguments: tuple[Any, ...], count: int) -> tuple[Any, tuple[Any, ...]]:
        state, iterator = arguments
        try:
            data = next(iterator)
        except StopIteration:  # the step will find that out itself
            return None, arguments
        return data, (state, itertools.chain([data], iterator))

    def kept_randomness(self) -> AbstractContextManager[None]:
        return kept_host_generators()

    def stored_gradients(self, variables: Sequence[Any]) -> AbstractContextManager[None]:
        return nullcontext()

    def double_precision(self) -> AbstractContextManager[None]:
        context: AbstractContextManager[None] = jax.enable_x64(True)
        return context

    def gradient_stops(self) -> Sequence[tuple[Any, str]]:
        from jax._src.lax import lax

        if hasattr(lax, "_stop_gradient"):  # JAX 0.10: where `jax.lax.stop_gradient` arrives under any name
            return [(lax, "_stop_gradient")]
        return [(jax.lax, "stop_gradient"), (keras_private.backend_core(), "stop_gradient")]

    def interpreted(self) -> AbstractContextManager[None]:
        context: AbstractContextManager[None] = jax.disable_jit()
        return context

    def forward_mode(self, function: Callable[..., Any], inputs: Sequence[Tensor], directions: Sequence[Tensor]) -> Any:
        results = []

        def derivative(value: Any) -> np.ndarray | None:
            tangent = getattr(value, "tangent", None) if isinstance(value, jax.core.Tracer) else None
            return None if tangent is None or not hasattr(tangent, "dtype") else self.numpy(tangent)

        def run(*tensors: Tensor) -> Tensor:
            results.append(function(list(tensors), derivative))
            return tensors[0]  # what is returned must be an array, and nobody looks at it

        jax.jvp(run, tuple(inputs), tuple(directions))
        return results[0]

    def inner_gradients(self) -> InnerGradients:
        return JaxInnerGradients()

    @contextmanager
    def lenient_conversions(self) -> Iterator[None]:
        # Tracers of eager autodiff hold their value as `primal` (jax/_src/interpreters/ad.py, JAX 0.10).
        def make(convert: Callable[..., Any]) -> Callable[[Any], Any]:
            def replacement(original: Any) -> Any:
                def converted(tracer: Any, *args: Any, **kwargs: Any) -> Any:
                    value = tracer
                    while isinstance(value, jax.core.Tracer):
                        if not hasattr(value, "primal"):
                            return original(tracer, *args, **kwargs)
                        value = value.primal
                    return convert(value, *args, **kwargs)

                return converted

            return replacement

        with ExitStack() as stack:
            for name, convert in (("__array__", np.asarray), ("__float__", float), ("__int__", int)):
                stack.enter_context(replaced(jax.core.Tracer, name, make(convert)))
            yield

    def differentiation(
        self, note: Callable[[Tensor], None], evaluate: Callable[..., Any] | None = None
    ) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        def make(original: Any) -> Any:
            def transform(function: Any, *args: Any, **kwargs: Any) -> Any:
                differentiated = original(function, *args, **kwargs)

                def run(*inputs: Any, **named: Any) -> Any:
                    # Once without autodiff, where losses see values instead of tracers.
                    value = function(*inputs, **named) if evaluate is None else evaluate(function, *inputs, **named)
                    note(value[0] if isinstance(value, tuple) else value)
                    return differentiated(*inputs, **named)

                return run

            return transform

        return [(jax, "value_and_grad", make), (jax, "grad", make)]

    def custom_gradients(self, note: Callable[[str], None]) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        def make(original: Any) -> Any:
            def call(decorated: Any, *args: Any, **kwargs: Any) -> Any:
                if holds_user_function(decorated.fun):
                    note(getattr(decorated.fun, "__name__", "a function"))
                return original(decorated, *args, **kwargs)

            return call

        return [(jax.custom_vjp, "__call__", make), (jax.custom_jvp, "__call__", make)]
