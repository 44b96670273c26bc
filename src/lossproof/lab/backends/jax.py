"""The JAX adapter."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.userfiles import holds_user_function
from lossproof.lab.backends.base import Mode, Tensor
from lossproof.lab.backends.host import (
    host_generators,
    host_present,
    host_state,
    kept_host_generators,
    set_host_state,
)
from lossproof.lab.backends.inner import InnerGradients
from lossproof.lab.backends.inner_jax import JaxInnerGradients
from lossproof.lab.backends.jax_programs import Programs
from lossproof.lab.backends.passing import Passing
from lossproof.lab.replace import replaced


class JaxBackend:
    """See `base.Backend`."""

    name = "jax"
    has_values_while_differentiating = False
    looks_through_predictions = False

    def __init__(self) -> None:
        self._programs = Programs()

    def tensor(self, array: Any, dtype: str | None = None) -> Tensor:
        if isinstance(array, jax.Array):
            return jnp.asarray(array, dtype=dtype)
        with jax.ensure_compile_time_eval():  # concrete inside of a trace as well; and there is nothing to compile
            return jax.device_put(np.asarray(array, dtype=None if dtype is None else jnp.dtype(dtype)))

    def numpy(self, tensor: Tensor) -> np.ndarray:
        if getattr(tensor, "dtype", None) in (jnp.bfloat16, jnp.float16):
            tensor = jnp.asarray(tensor, dtype="float32")
        return np.asarray(tensor)

    def detached(self, tensor: Tensor) -> Tensor:
        return tensor  # concrete arrays have no history

    def dense(self, gradient: Any) -> Tensor:
        return gradient

    def is_tensor(self, value: object) -> bool:
        return isinstance(value, jax.Array)

    def is_concrete(self, value: object) -> bool:
        return isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)

    def gradient(self, function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor | None]]:
        def total(*tensors: Tensor) -> Tensor:
            return jnp.sum(function(*tensors))

        differentiated = jax.value_and_grad(total, argnums=tuple(range(len(inputs))))
        value, gradients = self._programs.prepared(differentiated, *inputs)(*inputs)
        return value, list(gradients)

    def at_once(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._programs.prepared(function, *args)(*args)

    def prepared(self, function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
        return self._programs.prepared(function, *args)

    def rows(self, tensor: Tensor, index: np.ndarray) -> Tensor:
        if self.is_concrete(tensor):
            return jax.device_put(np.asarray(tensor)[index])  # nothing to compile
        return jnp.take(jnp.asarray(tensor), index.astype("int32"), axis=0)

    def outline(self, function: Callable[[], None]) -> None:
        try:
            jax.eval_shape(function)
        except Exception:  # the user's code looks at values
            function()

    def stages(self, function: Callable[..., Any], mode: Mode) -> Callable[..., Any]:
        return function if mode == "eager" else jax.jit(function)

    def frozen(self, function: Callable[..., Any], mode: Mode) -> Callable[..., Any]:
        held: list[Callable[..., Any]] = []

        def run(*args: Any) -> Any:
            if not held:
                held.append(self._programs.prepared(function, *args))
            return held[0](*args)

        return function if mode == "eager" else run

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

    def distribution_size(self) -> int | None:
        distribution = keras.distribution.distribution()
        return None if distribution is None else int(np.size(distribution.device_mesh.devices))

    def settled_devices(self) -> int:
        return len(jax.devices())

    def on_all_devices(self, tensor: Tensor, rows: bool) -> Tensor:
        distribution = keras.distribution.distribution()
        if distribution is None or not self.is_tensor(tensor):
            return tensor
        mesh = distribution.device_mesh
        axes = [None] * len(tensor.shape)
        if rows and axes and tensor.shape[0] % np.size(mesh.devices) == 0:
            axes[0] = mesh.axis_names[0]
        return keras.distribution.distribute_tensor(tensor, keras.distribution.TensorLayout(axes, mesh))

    def untraced(self, function: Callable[..., None]) -> Callable[..., None]:
        return function

    def connected(self, value: Tensor, sources: Sequence[Tensor]) -> bool | None:
        return None

    def refusing(self) -> AbstractContextManager[Any]:
        return nullcontext()

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

    def concretely(self) -> AbstractContextManager[None]:
        return jax.ensure_compile_time_eval()  # type: ignore[no-any-return]

    def from_present(self) -> AbstractContextManager[None]:
        return host_present()

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

    def random_state(self) -> Any:
        return (host_state(),)

    def set_random_state(self, state: Any) -> None:
        set_host_state(state[0])

    batches_from = "get_jax_iterator"

    def passing(self, batches: Any, pass_on: Callable[[Any], Any], example: Any) -> Any:
        return Passing(batches, pass_on)

    def mode_of(self, tensors: Sequence[Tensor]) -> Mode:
        return "jit" if any(isinstance(one, jax.core.Tracer) for one in tensors) else "eager"

    def tell(self, note: Callable[[list[np.ndarray]], None], tensors: Sequence[Tensor]) -> None:
        if self.mode_of(tensors) == "eager":
            note([self.numpy(one) for one in tensors])
        else:
            jax.debug.callback(lambda *told: note([np.asarray(one) for one in told]), *tensors, ordered=True)

    def settle(self) -> None:
        jax.effects_barrier()

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
