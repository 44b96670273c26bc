"""The PyTorch adapter."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from lossproof import keras_private
from lossproof.capture.userfiles import is_user_file, is_user_function
from lossproof.lab.backends.base import Mode, Tensor
from lossproof.lab.backends.bounds_torch import Refusing
from lossproof.lab.backends.generators_torch import TorchGenerators
from lossproof.lab.backends.inner import InnerGradients
from lossproof.lab.backends.inner_torch import TorchInnerGradients
from lossproof.lab.backends.passing import Passing
from lossproof.lab.replace import replaced


class TorchBackend(TorchGenerators):
    """See `base.Backend`."""

    name = "torch"
    has_values_while_differentiating = True
    looks_through_predictions = False

    def tensor(self, array: Any, dtype: str | None = None) -> Tensor:
        from keras import ops

        return ops.convert_to_tensor(array, dtype=dtype)

    def numpy(self, tensor: Tensor) -> np.ndarray:
        if not isinstance(tensor, torch.Tensor):
            return np.asarray(tensor)
        tensor = tensor.detach().cpu()
        if tensor.dtype in (torch.bfloat16, torch.float16):
            tensor = tensor.float()
        array: np.ndarray = tensor.numpy()
        return array

    def detached(self, tensor: Tensor) -> Tensor:
        return tensor.detach() if isinstance(tensor, torch.Tensor) else tensor

    def dense(self, gradient: Any) -> Tensor:
        return gradient

    def is_tensor(self, value: object) -> bool:
        return isinstance(value, torch.Tensor)

    def is_concrete(self, value: object) -> bool:
        return isinstance(value, torch.Tensor) and value.device.type != "meta"

    def gradient(self, function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor | None]]:
        leaves = [tensor.detach().clone().requires_grad_(True) for tensor in inputs]
        with torch.enable_grad():
            value = function(*leaves).sum()
        if not value.requires_grad:
            return value.detach(), [None] * len(leaves)
        return value.detach(), list(torch.autograd.grad(value, leaves, allow_unused=True))

    def at_once(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    def prepared(self, function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
        return function

    def rows(self, tensor: Tensor, index: np.ndarray) -> Tensor:
        from keras import ops

        return ops.take(tensor, self.tensor(index.astype("int32")), axis=0)

    def outline(self, function: Callable[[], None]) -> None:
        function()

    def stages(self, function: Callable[..., Any], mode: Mode) -> Callable[..., Any]:
        # Keras leaves torch eager unless `jit_compile=True`; what torch.compile does is not what most scripts run.
        return function

    def frozen(self, function: Callable[..., Any], mode: Mode) -> Callable[..., Any]:
        return self.stages(function, mode)

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
        return None  # keras.distribution is for JAX

    def settled_devices(self) -> int:
        return 1

    def on_all_devices(self, tensor: Tensor, rows: bool) -> Tensor:
        return tensor

    def untraced(self, function: Callable[..., None]) -> Callable[..., None]:
        return function

    def connected(self, value: Tensor, sources: Sequence[Tensor]) -> bool | None:
        return bool(getattr(value, "requires_grad", False))

    def refusing(self) -> AbstractContextManager[Any]:
        return Refusing() if torch.cuda.is_available() else nullcontext()

    def gradients(
        self, function: Callable[..., tuple[Sequence[Tensor], Any]], inputs: Sequence[Tensor]
    ) -> tuple[list[list[Tensor | None]], Any]:
        leaves = [tensor.detach().requires_grad_(True) for tensor in inputs]
        with torch.enable_grad():
            values, rest = function(*leaves)
        rows: list[list[Tensor | None]] = []
        for k, value in enumerate(values):
            if not value.requires_grad:
                rows.append([None] * len(leaves))
                continue
            more = any(other.requires_grad for other in values[k + 1 :])
            rows.append(list(torch.autograd.grad(value, leaves, retain_graph=more, allow_unused=True)))
        return rows, rest

    def taken(self, arguments: tuple[Any, ...], count: int) -> tuple[Any, tuple[Any, ...]]:
        (buffer,) = arguments
        return (buffer[0] if len(buffer) else None), arguments

    def concretely(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def stored_gradients(self, variables: Sequence[Any]) -> Iterator[None]:
        tensors = [variable.value for variable in variables]
        before = [(tensor, tensor.grad, None if tensor.grad is None else tensor.grad.clone()) for tensor in tensors]
        for tensor in tensors:
            tensor.grad = None  # a step that sets gradients to zero in place would reach the user's tensors
        try:
            yield
        finally:
            for tensor, gradient, kept in before:
                tensor.grad = gradient
                if gradient is not None and kept is not None:
                    gradient.copy_(kept)

    def double_precision(self) -> AbstractContextManager[None]:
        return nullcontext()

    def gradient_stops(self) -> Sequence[tuple[Any, str]]:
        core = keras_private.backend_core()  # where keras.ops.stop_gradient arrives
        return [(torch.Tensor, "detach"), (torch, "detach"), (core, "stop_gradient")]

    def interpreted(self) -> AbstractContextManager[None]:
        return nullcontext()

    def forward_mode(self, function: Callable[..., Any], inputs: Sequence[Tensor], directions: Sequence[Tensor]) -> Any:
        with warnings.catch_warnings(), torch.autograd.forward_ad.dual_level():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch warns of its own torch.jit on the first call
            pairs = zip(inputs, directions, strict=True)
            duals = [torch.autograd.forward_ad.make_dual(t.detach(), d) for t, d in pairs]

            def derivative(value: Any) -> np.ndarray | None:
                if not isinstance(value, torch.Tensor) or not value.is_floating_point():
                    return None
                found = torch.autograd.forward_ad.unpack_dual(value).tangent
                return None if found is None else self.numpy(found)

            return function(duals, derivative)

    batches_from = "get_torch_dataloader"

    def passing(self, batches: Any, pass_on: Callable[[Any], Any], example: Any) -> Any:
        return Passing(batches, lambda item: _tensors(pass_on(item)))

    def mode_of(self, tensors: Sequence[Tensor]) -> Mode:
        return "eager"

    def tell(self, note: Callable[[list[np.ndarray]], None], tensors: Sequence[Tensor]) -> None:
        note([self.numpy(one) for one in tensors])

    def settle(self) -> None:
        pass

    def inner_gradients(self) -> InnerGradients:
        return TorchInnerGradients()

    @contextmanager
    def lenient_conversions(self) -> Iterator[None]:
        def detached(original: Any) -> Any:
            return lambda tensor, *args, **kwargs: original(tensor.data, *args, **kwargs)

        with ExitStack() as stack:
            for name in ("numpy", "__array__"):
                stack.enter_context(replaced(torch.Tensor, name, detached))
            yield

    def differentiation(
        self, note: Callable[[Tensor], None], evaluate: Callable[..., Any] | None = None
    ) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        def make(original: Any) -> Any:
            def backward(tensor: Any, *args: Any, **kwargs: Any) -> Any:
                note(tensor)
                return original(tensor, *args, **kwargs)

            return backward

        return [(torch.Tensor, "backward", make)]

    def custom_gradients(self, note: Callable[[str], None]) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        def make_apply(original: Any) -> Any:
            def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
                functions = [cls.forward, *(a for a in args if callable(a))]
                if any(is_user_function(function) for function in functions):
                    note(cls.__name__)
                return original.__func__(cls, *args, **kwargs)

            return classmethod(apply)

        def make_guard(original: Any) -> Any:
            def enter(guard: Any, *args: Any) -> Any:
                if (not args or not args[0]) and _used_by_user(sys._getframe(1)):
                    note(type(guard).__name__)
                return original(guard, *args)

            return enter

        def make_method(original: Any) -> Any:
            def method(tensor: Any, *args: Any, **kwargs: Any) -> Any:
                if is_user_file(sys._getframe(1).f_code.co_filename):
                    note(original.__name__)
                return original(tensor, *args, **kwargs)

            return method

        def make_data(original: Any) -> Any:
            return property(make_method(original.__get__), original.__set__)

        return [
            (torch.autograd.Function, "apply", make_apply),
            (torch.no_grad, "__enter__", make_guard),
            (torch.inference_mode, "__enter__", make_guard),
            (torch.set_grad_enabled, "__init__", make_guard),
            (torch.Tensor, "detach_", make_method),
            (torch.Tensor, "register_hook", make_method),
            (torch.Tensor, "data", make_data),
        ]


def _used_by_user(frame: Any) -> bool:
    """Whether a guard is entered by the user's code, or around a function of the user's that it decorates."""
    return is_user_file(frame.f_code.co_filename) or is_user_function(frame.f_locals.get("func"))


def _tensors(item: Any) -> Any:
    """Nested arrays of NumPy as nested tensors."""
    if isinstance(item, (tuple, list)):
        return tuple(_tensors(part) for part in item)
    if isinstance(item, dict):
        return {key: _tensors(part) for key, part in item.items()}
    return torch.from_numpy(np.array(item)) if isinstance(item, np.ndarray) else item
