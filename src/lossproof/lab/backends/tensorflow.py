"""The TensorFlow adapter."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

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
from lossproof.lab.backends.inner_tensorflow import TensorFlowInnerGradients
from lossproof.lab.replace import replaced


@cache
def _seeded_state(algorithm: int) -> np.ndarray:
    """The state of a generator with seed 0; TensorFlow takes milliseconds to make one."""
    state: np.ndarray = tf.random.Generator.from_seed(0, alg=algorithm).state.numpy()
    return state


def _served_again(batches: Sequence[Any], spec: Any) -> tf.data.Iterator:
    """An iterator over the batches that a traced step cannot tell from the one they came from: of the same spec."""

    def opened(leaf: Any, wanted: Any) -> Any:
        if not isinstance(wanted, tf.TensorSpec) or leaf.shape == wanted.shape:
            return leaf
        return tf.raw_ops.PlaceholderWithDefault(input=leaf, shape=wanted.shape)

    def same_spec(*parts: Any) -> Any:
        data = parts if isinstance(spec, tuple) else parts[0]
        return tf.nest.map_structure(opened, data, spec)

    def of_one(batch: Any) -> Any:
        whole = tf.data.Dataset.from_tensors(batch)
        if whole.element_spec == spec:
            return whole
        leaves = tf.nest.flatten(batch)
        if all(isinstance(leaf, tf.Tensor) and leaf.shape.rank for leaf in leaves):
            rows = {leaf.shape[0] for leaf in leaves}
            if len(rows) == 1 and min(rows):
                # No function has to be traced for this, which would cost more than many a step.
                again = tf.data.Dataset.from_tensor_slices(batch).batch(rows.pop())
                if again.element_spec == spec:
                    return again
        return whole.map(same_spec)

    dataset = of_one(batches[0])
    for batch in batches[1:]:
        dataset = dataset.concatenate(of_one(batch))
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return iter(dataset.with_options(options))


class TensorFlowBackend:
    """See `base.Backend`."""

    name = "tensorflow"
    has_values_while_differentiating = True
    looks_through_predictions = True

    def tensor(self, array: Any, dtype: str | None = None) -> Tensor:
        return tf.convert_to_tensor(array) if dtype is None else tf.cast(tf.convert_to_tensor(array), dtype)

    def numpy(self, tensor: Tensor) -> np.ndarray:
        if getattr(tensor, "dtype", None) in (tf.bfloat16, tf.float16):
            tensor = tf.cast(tensor, tf.float32)
        return np.asarray(tensor)

    def detached(self, tensor: Tensor) -> Tensor:
        return tensor  # its history stays with the tape

    def dense(self, gradient: Any) -> Tensor:
        return tf.convert_to_tensor(gradient)

    def is_tensor(self, value: object) -> bool:
        return isinstance(value, (tf.Tensor, tf.Variable, tf.RaggedTensor, tf.SparseTensor))

    def is_concrete(self, value: object) -> bool:
        return isinstance(value, tf.Variable) or (isinstance(value, tf.Tensor) and hasattr(value, "_numpy"))

    def gradient(self, function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor | None]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for tensor in inputs:
                tape.watch(tensor)
            value = tf.reduce_sum(function(*inputs))
        gradients = tape.gradient(value, list(inputs))
        return value, [tf.convert_to_tensor(g) if g is not None else None for g in gradients]

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
        if mode == "eager":
            return function
        compiled: Callable[..., Any] = tf.function(function, jit_compile=mode == "jit", autograph=False)
        return compiled

    def frozen(self, function: Callable[..., Any], mode: Mode) -> Callable[..., Any]:
        return self.stages(function, mode)

    def stepped(
        self, function: Callable[..., Any], mode: Mode, examples: Sequence[Tensor], open_rows: bool
    ) -> Callable[..., Any]:
        if mode == "eager":
            return function
        specs = [
            tf.TensorSpec([None, *one.shape[1:]] if open_rows and len(one.shape) else one.shape, one.dtype)
            for one in examples
        ]
        compiled: Callable[..., Any] = tf.function(
            function, input_signature=specs, jit_compile=mode == "jit", autograph=False
        )
        return compiled

    def rewrites(self) -> Sequence[str]:
        return ("constant_folding", "arithmetic_optimization", "remapping")

    @contextmanager
    def without_rewrite(self, name: str) -> Iterator[None]:
        before = tf.config.optimizer.get_experimental_options()
        tf.config.optimizer.set_experimental_options({name: False})
        try:
            yield
        finally:
            tf.config.optimizer.set_experimental_options({name: before.get(name, True)})

    def strategy_of(self, model: Any) -> Any:
        strategy = getattr(model, "distribute_strategy", None)
        if strategy is tf.distribute.get_strategy() or isinstance(strategy, tf.distribute.OneDeviceStrategy):
            return None
        return strategy

    def replica(self) -> int:
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        return int(number)

    @contextmanager
    def simulated_replicas(self, number: int) -> Iterator[None]:
        name = "num_replicas_in_sync"
        owner = next(one for one in tf.distribute.Strategy.__mro__ if name in vars(one))
        with replaced(owner, name, lambda _: property(lambda _: number)):
            yield

    def distribution_size(self) -> int | None:
        return None  # keras.distribution is for JAX

    def settled_devices(self) -> int:
        return 1

    def on_all_devices(self, tensor: Tensor, rows: bool) -> Tensor:
        return tensor

    def untraced(self, function: Callable[..., None]) -> Callable[..., None]:
        passed_by: Callable[..., None] = tf.autograph.experimental.do_not_convert(function)
        return passed_by

    def connected(self, value: Tensor, sources: Sequence[Tensor]) -> bool | None:
        return None

    def refusing(self) -> AbstractContextManager[Any]:
        return nullcontext()

    @contextmanager
    def repeatable(self) -> Iterator[None]:
        # Eager ops without an op seed draw theirs from the context's own `random.Random`; there is no public way to
        # read it back, so its state is kept through the context object.
        from tensorflow.python.eager import context
        from tensorflow.python.ops import stateful_random_ops

        if tf.inside_function():  # the trace is under way: its caller has seeded
            with host_generators():
                yield
            return
        eager = context.context()
        before = (getattr(eager, "_seed", None), getattr(eager, "_rng", None))
        state = before[1].getstate() if isinstance(before[1], random.Random) else None
        generator = stateful_random_ops.global_generator  # None as long as nobody has asked for it
        kept = None if generator is None else generator.state.numpy()
        with host_generators():
            tf.random.set_seed(0)
            if generator is not None:
                generator.state.assign(_seeded_state(generator.algorithm))
            try:
                yield
            finally:
                if generator is not None:
                    generator.state.assign(kept)
                eager._seed, eager._rng = before
                if state is not None and isinstance(before[1], random.Random):
                    before[1].setstate(state)

    def gradients(
        self, function: Callable[..., tuple[Sequence[Tensor], Any]], inputs: Sequence[Tensor]
    ) -> tuple[list[list[Tensor | None]], Any]:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            for tensor in inputs:
                tape.watch(tensor)
            values, rest = function(*inputs)
            values = [tf.convert_to_tensor(value) for value in values]
        rows = [tape.gradient(value, list(inputs)) for value in values]
        return [[tf.convert_to_tensor(g) if g is not None else None for g in row] for row in rows], rest

    def taken(self, arguments: tuple[Any, ...], count: int) -> tuple[Any, tuple[Any, ...]]:
        (iterator,) = arguments
        if not isinstance(iterator, tf.data.Iterator):  # of a strategy: each replica takes its own batch
            return None, arguments
        batches: list[Any] = []
        while len(batches) < count:
            following = iterator.get_next_as_optional()
            if not following.has_value():
                break
            batches.append(following.get_value())
        if not batches:
            return None, arguments
        first = tf.nest.map_structure(
            lambda leaf: None if isinstance(leaf, tf.experimental.Optional) else leaf, batches[0]
        )
        return first, (_served_again(batches, iterator.element_spec),)

    def concretely(self) -> AbstractContextManager[None]:
        return tf.init_scope()  # type: ignore[no-any-return]

    def from_present(self) -> AbstractContextManager[None]:
        return host_present()  # what a graph draws by operations of TensorFlow has its state in the graph

    @contextmanager
    def kept_randomness(self) -> Iterator[None]:
        from tensorflow.python.eager import context

        eager = context.context()
        before = (getattr(eager, "_seed", None), getattr(eager, "_rng", None))
        state = before[1].getstate() if isinstance(before[1], random.Random) else None
        with kept_host_generators():
            try:
                yield
            finally:
                eager._seed, eager._rng = before
                if state is not None and isinstance(before[1], random.Random):
                    before[1].setstate(state)

    def stored_gradients(self, variables: Sequence[Any]) -> AbstractContextManager[None]:
        return nullcontext()

    def double_precision(self) -> AbstractContextManager[None]:
        return nullcontext()

    def gradient_stops(self) -> Sequence[tuple[Any, str]]:
        from tensorflow.python.ops import gen_array_ops  # where `tf.stop_gradient` arrives under any name

        return [(gen_array_ops, "stop_gradient")]

    @contextmanager
    def interpreted(self) -> Iterator[None]:
        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            with warnings.catch_warnings():  # TensorFlow says that it does not apply to tf.data
                warnings.filterwarnings("ignore", message=".*run_functions_eagerly.*")
                yield
        finally:
            tf.config.run_functions_eagerly(before)

    def forward_mode(self, function: Callable[..., Any], inputs: Sequence[Tensor], directions: Sequence[Tensor]) -> Any:
        with tf.autodiff.ForwardAccumulator(list(inputs), list(directions)) as accumulator:

            def derivative(value: Any) -> np.ndarray | None:
                found = accumulator.jvp(value) if isinstance(value, tf.Tensor) and value.dtype.is_floating else None
                return None if found is None else self.numpy(tf.convert_to_tensor(found))

            return function(list(inputs), derivative)

    def random_state(self) -> Any:
        from tensorflow.python.eager import context

        eager = context.context()
        own = getattr(eager, "_rng", None)
        drawn = own.getstate() if isinstance(own, random.Random) else None
        return host_state(), getattr(eager, "_seed", None), drawn, tf.random.get_global_generator().state.numpy()

    def set_random_state(self, state: Any) -> None:
        from tensorflow.python.eager import context

        host, seed, drawn, generator = state
        set_host_state(host)
        eager = context.context()
        if drawn is not None:
            tf.random.set_seed(seed if seed is not None else 0)
            eager._rng = random.Random()
            eager._rng.setstate(drawn)
            eager._seed = seed
        tf.random.get_global_generator().state.assign(generator)

    batches_from = "get_tf_dataset"

    def passing(self, batches: Any, pass_on: Callable[[Any], Any], example: Any) -> Any:
        def run() -> Iterator[Any]:
            return (pass_on(item) for item in batches)

        return tf.data.Dataset.from_generator(
            run, output_signature=batches.element_spec if example is None else _spec(example)
        )

    def mode_of(self, tensors: Sequence[Tensor]) -> Mode:
        return "graph" if tf.inside_function() else "eager"

    def tell(self, note: Callable[[list[np.ndarray]], None], tensors: Sequence[Tensor]) -> None:
        if self.mode_of(tensors) == "eager":
            note([self.numpy(one) for one in tensors])
        else:
            tf.numpy_function(lambda *told: note(list(told)), [tf.convert_to_tensor(one) for one in tensors], [])

    def settle(self) -> None:
        pass

    def inner_gradients(self) -> InnerGradients:
        return TensorFlowInnerGradients()

    def lenient_conversions(self) -> AbstractContextManager[None]:
        return nullcontext()  # eager tensors never refuse

    def differentiation(
        self, note: Callable[[Tensor], None], evaluate: Callable[..., Any] | None = None
    ) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        def make(original: Any) -> Any:
            def gradient(tape: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
                note(target)
                return original(tape, target, *args, **kwargs)

            return gradient

        return [(tf.GradientTape, "gradient", make)]

    def custom_gradients(self, note: Callable[[str], None]) -> Sequence[tuple[Any, str, Callable[[Any], Any]]]:
        from tensorflow.python.ops import custom_gradient

        def make(original: Any) -> Any:
            def decorated(function: Any, *args: Any, **kwargs: Any) -> Any:
                if holds_user_function(function):
                    note(function.__name__)
                return original(function, *args, **kwargs)

            return decorated

        return [(custom_gradient, name, make) for name in ("_eager_mode_decorator", "_graph_mode_decorator")]


def _spec(example: Any) -> Any:
    """The signature of batches of any number of rows that are like this one."""
    if isinstance(example, tuple):
        return tuple(_spec(part) for part in example)
    if isinstance(example, dict):
        return {key: _spec(part) for key, part in example.items()}
    return tf.TensorSpec([None, *example.shape[1:]] if example.ndim else [], example.dtype)
