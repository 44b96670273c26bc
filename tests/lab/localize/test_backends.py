"""Losses of all kinds in `keras.ops`, on the backend of this run."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from lossproof.lab.localize.batches import compare_batches
from lossproof.lab.localize.queries import first_broadcast, first_nonfinite, labels_for, last_differentiable
from lossproof.lab.localize.recorder import Recorder

SOURCE = '''
import functools
import keras
from keras import ops

def error(y_true, y_pred):
    return y_true - y_pred

def function(y_true, y_pred):
    return ops.mean(ops.square(error(y_true, y_pred)), axis=-1)

def weighted(y_true, y_pred, weight=1.0):
    return weight * function(y_true, y_pred)

partial = functools.partial(weighted, weight=2.0)
squared = lambda y_true, y_pred: ops.mean(ops.square(y_true - y_pred), axis=-1)

def make(delta):
    def closure(y_true, y_pred):
        return delta * ops.mean(ops.abs(error(y_true, y_pred)), axis=-1)
    return closure

closure = make(0.5)

@keras.saving.register_keras_serializable(package="lossproof_tests")
class Squared(keras.losses.Loss):
    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.calls = 0

    def call(self, y_true, y_pred):
        self.calls += 1
        self.owner = self
        return self.scale * ops.mean(ops.square(self.difference(y_true, y_pred)), axis=-1)

    def difference(self, y_true, y_pred):
        return y_true - y_pred

class Child(Squared):
    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred, sample_weight=sample_weight) + 1.0

    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) * 2

class Callable:
    def __call__(self, y_true, y_pred):
        return ops.mean(ops.square(self.difference(y_true, y_pred)), axis=-1)

    def difference(self, y_true, y_pred):
        return y_true - y_pred

class BuiltIn(keras.losses.Loss):
    """Uses a built-in loss and a loss of its own."""

    def __init__(self):
        super().__init__()
        self.inner = [keras.losses.MeanAbsoluteError(reduction="none"), Squared(reduction="none")]

    def call(self, y_true, y_pred):
        return self.inner[0](y_true, y_pred) + self.inner[1](y_true, y_pred)

instance = Squared(3.0)
child = Child(reduction="sum")
built_in = BuiltIn()
method = Squared().call
'''
COMPILED = {
    "tensorflow": """
import tensorflow as tf

@tf.function
def compiled(y_true, y_pred):
    if tf.reduce_sum(y_pred) > -1e9:
        return tf.reduce_mean(tf.square(y_true - y_pred), axis=-1)
    return y_pred

class CompiledLoss(keras.losses.Loss):
    @tf.function
    def call(self, y_true, y_pred):
        return tf.reduce_mean(tf.square(y_true - y_pred), axis=-1)

compiled_call = CompiledLoss()
compiled_method = CompiledLoss().call
""",
    "jax": """
import jax
import jax.numpy as jnp

@jax.jit
def compiled(y_true, y_pred):
    return jnp.mean(jnp.square(y_true - y_pred), axis=-1)

@functools.partial(jax.jit, static_argnames="power")
def powered(y_true, y_pred, power=2):
    return jnp.mean((y_true - y_pred) ** power, axis=-1)

class CompiledLoss(keras.losses.Loss):
    @functools.partial(jax.jit, static_argnums=0)
    def call(self, y_true, y_pred):
        return jnp.mean(jnp.square(y_true - y_pred), axis=-1)

compiled_call = CompiledLoss()
compiled_method = CompiledLoss().call
""",
    "torch": """
import torch

class Criterion(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, y_true, y_pred):
        return self.scale * torch.mean((y_true - y_pred) ** 2, dim=-1)

compiled = Criterion()

@torch.no_grad()
def foreign(y_true, y_pred):
    return y_true - y_pred
""",
}
KINDS = ["function", "partial", "squared", "closure", "instance", "child", "built_in", "method", "callable", "compiled"]


@pytest.fixture
def module(load, backend):
    module = load(SOURCE + COMPILED[backend])
    module.callable = module.Callable()
    return module


@pytest.fixture
def recorder(module):
    return Recorder(lambda file: file == module.__file__)


@pytest.fixture
def batch():
    rng = np.random.default_rng(3)
    y_true, y_pred = rng.normal(size=(2, 6, 3)).astype("float32")
    return keras.ops.convert_to_tensor(y_true), keras.ops.convert_to_tensor(y_pred)


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def differences(trace):
    return [event for event in trace.events if event.place.expression == "y_true - y_pred"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_and_is_looked_into(kind, module, recorder, batch):
    function = getattr(module, kind)
    expected = to_numpy(function(*batch))
    trace = recorder.trace(function, *batch)
    # What XLA compiles may round otherwise.
    np.testing.assert_allclose(to_numpy(trace.result), expected, rtol=1e-6 if kind == "compiled" else 0)
    assert (trace.error, trace.blind) == (None, ())
    reference = to_numpy(batch[0]).astype("float64") - to_numpy(batch[1])
    assert differences(trace)
    for event in differences(trace):
        np.testing.assert_allclose(to_numpy(event.value), reference, rtol=1e-6)
        assert [o.expression for o in event.operands] == ["y_true", "y_pred"]


@pytest.mark.backend("tensorflow", "jax")
@pytest.mark.parametrize("kind", ["compiled_call", "compiled_method"])
def test_a_compiled_method_is_looked_into(kind, module, recorder, batch):
    function = getattr(module, kind)
    trace = recorder.trace(function, *batch)
    np.testing.assert_allclose(to_numpy(trace.result), to_numpy(function(*batch)), rtol=1e-6)
    assert (trace.error, trace.blind) == (None, ())
    assert len(differences(trace)) == 1


@pytest.mark.backend("jax")
def test_static_arguments_of_jit(module, recorder, batch):
    trace = recorder.trace(module.powered, *batch, power=4)
    np.testing.assert_allclose(to_numpy(trace.result), to_numpy(module.powered(*batch, power=4)), rtol=1e-6)
    assert len(differences(trace)) == 1


@pytest.mark.backend("torch")
def test_a_foreign_decorator_is_left_alone(module, recorder, batch):
    trace = recorder.trace(module.foreign, *batch)
    assert (trace.error, trace.events) == (None, ())
    assert trace.blind[0].startswith("foreign (")


def test_a_loss_keeps_its_state_and_its_self(module, recorder, batch):
    loss = module.Squared(3.0)
    twin = recorder.traced(loss)
    assert isinstance(twin, module.Squared)
    assert twin is not loss
    loss(*batch)
    twin(*batch)
    twin(*batch)
    assert loss.calls == 3
    assert loss.owner is loss
    assert set(vars(loss)) == {"name", "reduction", "_dtype_policy", "_dtype", "scale", "calls", "owner"}


def test_sample_weights_and_reduction_are_the_losses_own(module, recorder, batch):
    weights = np.arange(6, dtype="float32")
    for loss in (module.instance, module.child):
        expected = to_numpy(loss(*batch, sample_weight=weights))
        assert to_numpy(recorder.traced(loss)(*batch, sample_weight=weights)) == expected


def test_layers_are_not_taken_apart(load, batch):
    module = load(
        "import keras\n"
        "class Double(keras.layers.Layer):\n"
        "    def call(self, x):\n        return x + x\n"
        "layer = Double()\n"
        "model = keras.Sequential([layer])\n"
        "def loss(y_true, y_pred):\n    return layer(y_pred) + model(y_pred) - y_true\n"
    )
    trace = Recorder(lambda file: file == module.__file__).trace(module.loss, *batch)
    assert trace.error is None
    texts = [event.place.expression for event in trace.events]
    assert "layer(y_pred)" in texts
    assert "model(y_pred)" in texts
    assert "x + x" not in texts


def test_the_broadcast_of_a_loss_subclass(module, recorder):
    def run(batch):
        y_true = keras.ops.convert_to_tensor(np.arange(batch, dtype="float32"))
        return recorder.trace(module.Squared(), y_true, keras.ops.ones((batch, 1)))

    trace = run(5)
    event = first_broadcast(trace, compare_batches(trace, run(4)))
    assert event.place.expression == "y_true - y_pred"
    assert event.place.scope == "Squared.difference"
    assert [label.text for label in labels_for(event)] == ["(5,)", "(5, 1)", "gives (5, 5)"]
    assert event is first_broadcast(trace, 5)


def test_where_a_nan_is_born(load, batch):
    module = load(
        "from keras import ops\n"
        "def loss(y_true, y_pred):\n"
        "    shifted = y_pred - ops.max(y_pred)\n"
        "    return ops.mean(y_true * ops.log(shifted), axis=-1)\n"
    )
    trace = Recorder(lambda file: file == module.__file__).trace(module.loss, *batch)
    event = first_nonfinite(trace, to_numpy)
    assert (event.place.expression, event.place.line) == ("ops.log(shifted)", 4)


GRADIENTS = {
    "ops.mean(ops.square(y_true - y_pred), axis=-1)": None,
    "ops.mean(ops.abs(y_true - ops.stop_gradient(y_pred * 2)), axis=-1)": "ops.stop_gradient(y_pred * 2)",
    "ops.mean(ops.cast(ops.argmax(y_pred + 1, axis=-1), 'float32') - y_true[:, 0])": "ops.argmax(y_pred + 1, axis=-1)",
    "ops.mean(ops.cast(y_pred > 0, 'float32') * y_pred)": None,
    "ops.mean(ops.cast(y_pred > 0, 'float32') * y_true)": "y_pred > 0",
}


@pytest.mark.parametrize("expression", GRADIENTS)
def test_where_the_gradient_dies(expression, load, batch, backend):
    module = load(f"from keras import ops\ndef loss(y_true, y_pred):\n    return {expression}\n")
    trace, depends = differentiated(Recorder(lambda file: file == module.__file__), module.loss, batch, backend)
    assert trace.error is None
    event = last_differentiable(trace, depends)
    assert (None if event is None else event.place.expression) == GRADIENTS[expression]


def differentiated(recorder, loss, batch, backend):
    """The trace of a loss under autodiff, and whether a value depends on `y_pred`, by the backend itself."""
    y_true, y_pred = batch
    if backend == "torch":
        y_pred = y_pred.detach().requires_grad_()
        return recorder.trace(loss, y_true, y_pred), lambda value: getattr(value, "requires_grad", False)
    if backend == "tensorflow":
        import tensorflow as tf

        tape = tf.GradientTape(persistent=True)
        with tape:
            tape.watch(y_pred)
            trace = recorder.trace(loss, y_true, y_pred)

        def connected(value):
            real = tf.is_tensor(value) and value.dtype.is_floating
            return value is y_pred or (real and tape.gradient(value, y_pred) is not None)

        return trace, connected
    import jax

    kept = []

    def total(y_pred):
        trace = recorder.trace(loss, y_true, y_pred)
        # A tracer's tangent is zero, symbolically, where the derivative is: `jvp` of each event by itself.
        kept.append(trace)
        return trace.result.sum()

    jax.grad(total)(y_pred)
    (trace,) = kept
    values = {id(e.value): k for k, e in enumerate(trace.events) if hasattr(e.value, "dtype")}
    values |= {id(trace.result): len(trace.events)}

    def connected(value):
        k = values.get(id(value))
        if k is None or not jax.numpy.issubdtype(value.dtype, jax.numpy.floating):
            return False

        def at(y_pred):
            again = Recorder(lambda file: file == loss.__code__.co_filename).trace(loss, y_true, y_pred)
            return (again.events[k].value if k < len(again.events) else again.result).sum()

        return bool(np.any(jax.grad(at)(y_pred) != 0))

    return trace, connected


@pytest.mark.parametrize("kind", ["function", "instance", "closure"])
def test_keras_trains_on_a_twin_as_on_the_original(kind, module, recorder):
    def train(loss):
        keras.utils.set_random_seed(7)
        model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3)])
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
        x = np.linspace(-1, 1, 16, dtype="float32").reshape(8, 2)
        history = model.fit(x, np.ones((8, 3), "float32"), batch_size=4, epochs=2, verbose=0)
        return history.history["loss"], model.get_weights()

    loss = getattr(module, kind)
    expected_losses, expected_weights = train(loss)
    losses, weights = train(recorder.traced(loss))
    assert losses == expected_losses
    for got, expected in zip(weights, expected_weights, strict=True):
        np.testing.assert_array_equal(got, expected)
    # Graphs and jit are traced through the twin, with symbolic values.
    assert differences(recorder)
    assert recorder.blind == ()


@pytest.mark.backend("tensorflow")
def test_inside_a_graph_a_compiled_callee_stays_compiled(load, batch):
    import tensorflow as tf

    module = load(
        "import tensorflow as tf\n"
        "@tf.function\n"
        "def inner(x):\n    if tf.reduce_sum(x) > 1e9:\n        return -x\n    return x * 2\n"
        "def loss(y_true, y_pred):\n    return inner(y_pred) - y_true\n"
    )
    recorder = Recorder(lambda file: file == module.__file__)
    in_graph = tf.function(recorder.traced(module.loss), autograph=False)
    np.testing.assert_array_equal(in_graph(*batch), module.loss(*batch))
    assert [event.place.expression for event in recorder.events][-1] == "inner(y_pred) - y_true"
    assert "x * 2" not in [event.place.expression for event in recorder.events]
    assert recorder.blind[0].startswith("inner (")


@pytest.mark.backend("tensorflow")
def test_autograph_converts_the_original_source(load, batch):
    import tensorflow as tf

    module = load(
        "import tensorflow as tf\n"
        "def loss(y_true, y_pred):\n"
        "    if tf.reduce_sum(y_pred) > 1e9:\n        return -y_pred\n    return y_pred - y_true\n"
    )
    recorder = Recorder(lambda file: file == module.__file__)
    np.testing.assert_array_equal(tf.function(recorder.traced(module.loss))(*batch), module.loss(*batch))


@pytest.mark.backend("jax")
def test_under_every_transformation_of_jax(module, recorder, batch):
    import jax

    twin = recorder.traced(module.function)

    def total(function):
        return lambda t, p: function(t, p).sum()

    for transform in (jax.jit, jax.grad, jax.vmap, lambda f: jax.value_and_grad(jax.checkpoint(f))):
        inner = total if transform is not jax.vmap else lambda f: f
        got, expected = transform(inner(twin))(*batch), transform(inner(module.function))(*batch)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(differences(recorder)) >= 4
