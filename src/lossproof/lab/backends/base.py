"""What the lab needs from a backend. The three adapters beside this file are the only code that knows one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import numpy as np

from lossproof.lab.backends.inner import InnerGradients

Tensor = Any
"""A tensor of the running backend; its type is known to the adapters alone."""

Mode = Literal["eager", "graph", "jit"]


class Backend(Protocol):
    """One of TensorFlow, JAX and PyTorch, as the lab sees it."""

    name: str
    has_values_while_differentiating: bool
    """Whether what is differentiated runs on concrete tensors, so that its values can be read on the way."""

    def tensor(self, array: Any, dtype: str | None = None) -> Tensor:
        """A concrete tensor holding `array`; `dtype` as Keras spells it, None to keep the array's own."""

    def numpy(self, tensor: Tensor) -> np.ndarray:
        """The values of a concrete tensor. Half precision types come back as float32."""

    def detached(self, tensor: Tensor) -> Tensor:
        """A concrete tensor with the same values, of which autodiff knows nothing."""

    def dense(self, gradient: Any) -> Tensor:
        """A gradient as a tensor; TensorFlow has that of an embedding as the rows that were looked up."""

    def is_tensor(self, value: object) -> bool:
        """Whether `value` is a tensor of this backend, concrete or symbolic."""

    def is_concrete(self, value: object) -> bool:
        """Whether `value` is a tensor of this backend that has values now (not a tracer, not a graph tensor)."""

    def gradient(self, function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor | None]]:
        """Value of `function(*inputs)`, summed, and its gradient for each input, eagerly.

        None where autodiff finds no connection (JAX cannot tell and gives zeros).

        Raises:
            Whatever the function raises under differentiation.
        """

    def at_once(self, function: Callable[..., Any], *args: Any) -> Any:
        """The result of `function(*args)`; as one program where this backend compiles every operation that it runs.

        Args:
            function: Of nested tensors, to nested tensors. It is called once, or twice where it cannot be traced.
            args: What it takes.
        """

    def prepared(self, function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
        """The function as `at_once` would run it, to be called several times with tensors of the shapes of `args`."""

    def rows(self, tensor: Tensor, index: np.ndarray) -> Tensor:
        """Some rows of a tensor (repeats allowed), shape (len(index), ...)."""

    def outline(self, function: Callable[[], None]) -> None:
        """Call a function for the calls that it makes: its tensors need not have values, where that is quicker."""

    def stages(self, function: Callable[..., Any], mode: Mode) -> Callable[..., Any]:
        """`function` as it runs in a mode: untouched, traced once into a graph, or traced and compiled by XLA."""

    def frozen(self, function: Callable[..., Any], mode: Mode) -> Callable[..., Any]:
        """The function as `stages` makes it, where only what tracing keeps matters, not how it is computed.

        It is traced at its first call. On JAX, programs that come out the same are compiled once.
        """

    def stepped(
        self, function: Callable[..., Any], mode: Mode, examples: Sequence[Tensor], open_rows: bool
    ) -> Callable[..., Any]:
        """`function`, staged for tensors like `examples` as Keras stages a step that receives them as a batch.

        Where shapes can be open (TensorFlow), `open_rows` says whether the first axis is.
        """

    def rewrites(self) -> Sequence[str]:
        """The passes that rewrite arithmetic in a traced graph and can be switched off."""

    def without_rewrite(self, name: str) -> AbstractContextManager[None]:
        """Inside, graphs are optimized without one of these passes."""

    def strategy_of(self, model: Any) -> Any:
        """The strategy of `tf.distribute` under which the script made a model; None where it used none.

        One that can only ever have one replica is none.
        """

    def replica(self) -> int:
        """Which replica of a strategy is running."""

    def simulated_replicas(self, number: int) -> AbstractContextManager[None]:
        """Inside, code that asks how many replicas there are is told `number`."""

    def distribution_size(self) -> int | None:
        """Over how many devices a `keras.distribution` of the script lays its batches; None where it uses none."""

    def settled_devices(self) -> int:
        """How many devices there are, settled now: nothing that the script sets later changes it."""

    def on_all_devices(self, tensor: Tensor, rows: bool) -> Tensor:
        """A tensor on all devices of the script's distribution: its rows dealt to them, or all of it on each."""

    def untraced(self, function: Callable[..., None]) -> Callable[..., None]:
        """`function`, which looks on and returns nothing, such that tracing and its code conversion pass it by."""

    def connected(self, value: Tensor, sources: Sequence[Tensor]) -> bool | None:
        """Whether autodiff still connects `value` to one of `sources`; None where this backend cannot tell."""

    def refusing(self) -> AbstractContextManager[Any]:
        """Inside, an operation that would end the use of the device, given such values, raises instead."""

    def repeatable(self) -> AbstractContextManager[None]:
        """Inside, random numbers start from a fixed seed; afterwards the generators are as they were before."""

    def from_present(self) -> AbstractContextManager[None]:
        """Inside, `repeatable` starts from where the generators are now, not from a seed."""

    def double_precision(self) -> AbstractContextManager[None]:
        """Inside, float64 is available (JAX has it switched off by default)."""

    def gradient_stops(self) -> Sequence[tuple[Any, str]]:
        """The functions, as (owner, attribute), through which every way to cut the gradient on purpose passes.

        Those of a module are called with one tensor and have no other purpose. Those of a class serve the backend as
        well.
        """

    def interpreted(self) -> AbstractContextManager[None]:
        """Inside, functions that the user compiled (`tf.function`, `jax.jit`) run as plain Python, each time."""

    def differentiation(
        self, note: Callable[[Tensor], None], evaluate: Callable[..., Any] | None = None
    ) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        """Replacements, as (owner, attribute, original -> replacement), that tell `note` each loss a user's step
        differentiates, as a concrete tensor.

        Where a step hands a function over to be differentiated, `evaluate(function, *inputs)` is asked for its value,
        which is simply called by default.
        """

    def custom_gradients(self, note: Callable[[str], None]) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        """Replacements, as in `differentiation`, that tell `note` the name of each gradient that the user defined."""

    def forward_mode(self, function: Callable[..., Any], inputs: Sequence[Tensor], directions: Sequence[Tensor]) -> Any:
        """What `function(inputs, derivative)` returns, run eagerly under forward-mode autodiff.

        `derivative(value)` is, inside, the derivative of any tensor that came of the inputs, along the directions; None
        where autodiff finds no connection.

        Raises:
            Whatever the function raises.
        """

    def lenient_conversions(self) -> AbstractContextManager[None]:
        """Inside, a tensor under differentiation gives Python and NumPy its values, cut from autodiff, where this
        backend would refuse them."""

    def random_state(self) -> Any:
        """The states of Python's, NumPy's and the backend's own random generators, as nested tuples and arrays."""

    def set_random_state(self, state: Any) -> None:
        """Bring `random_state` back."""

    batches_from: str
    """The method of Keras's data adapters from which the training gets its batches."""

    def passing(self, batches: Any, pass_on: Callable[[Any], Any], example: Any) -> Any:
        """What `batches_from` returned, with each batch going through a function when the training asks for it.

        `example` is a batch of the form that it may return instead, None where it keeps their form.
        """

    def mode_of(self, tensors: Sequence[Tensor]) -> Mode:
        """How the code that holds these tensors runs."""

    def tell(self, note: Callable[[list[np.ndarray]], None], tensors: Sequence[Tensor]) -> None:
        """Tell `note` the values of tensors when they are computed: at once, or whenever traced code runs."""

    def settle(self) -> None:
        """Wait until everything that `tell` owes is told."""

    def gradients(
        self, function: Callable[..., tuple[Sequence[Tensor], Any]], inputs: Sequence[Tensor]
    ) -> tuple[list[list[Tensor | None]], Any]:
        """For `function(*inputs)`, which returns some scalars and something else, the gradients of each of the scalars.

        One forward pass and one backward pass for each scalar; it may be traced.

        Returns:
            For each scalar a gradient for each input, None where autodiff finds no connection (JAX cannot tell and
            gives zeros); and the something else, nested tensors.
        """

    def taken(self, arguments: tuple[Any, ...], count: int) -> tuple[Any, tuple[Any, ...]]:
        """What Keras's `train_function` is about to take as its first batch, and arguments with which it takes the same.

        Args:
            arguments: Those of one call of `model.train_function` by `fit`.
            count: How many batches the call takes (`steps_per_execution`).

        Returns:
            The batch as the step receives it, None where it cannot be had; the arguments for the call.
        """

    def concretely(self) -> AbstractContextManager[None]:
        """Inside, tensors made of arrays have values, also where user code is being traced just then."""

    def kept_randomness(self) -> AbstractContextManager[None]:
        """Inside, random numbers go on as they would; afterwards the generators are as they were before."""

    def stored_gradients(self, variables: Sequence[Any]) -> AbstractContextManager[None]:
        """Afterwards, the gradients that this backend stores on variables (torch's `.grad`) are what they were."""

    def inner_gradients(self) -> InnerGradients:
        """What takes gradients for intermediate tensors; a new one for each run."""

    looks_through_predictions: bool
    """Whether losses of this backend look at how the predictions were made, not only at their values."""
