"""What a trace says of each expression, against NumPy in float64 and derivatives worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops
from rich.console import Console

import lossproof as lp
from lossproof.report.trace import render
from lossproof.report.traced import Expression, TraceReport, Values
from lossproof.tracing import trace_script

RNG = np.random.default_rng(3)
Y_TRUE = RNG.normal(size=(6, 2)).astype("float32")
Y_PRED = RNG.normal(size=(6, 2)).astype("float32")


def expressions(report: TraceReport) -> dict[str, Expression]:
    """By their text; of several, the first."""
    found: dict[str, Expression] = {}
    for capture in report.captures:
        for term in capture.terms:
            for function in term.functions:
                for one in function.expressions:
                    found.setdefault(one.place.expression, one)
    return found


def assert_values(one: Values, expected: np.ndarray, dtype: str = "float32") -> None:
    assert one.shape == expected.shape
    assert one.dtype == dtype
    for name in ("min", "max", "mean"):
        found = getattr(one, {"min": "low", "max": "high", "mean": "mean"}[name])
        assert found == pytest.approx(float(getattr(expected, name)()), rel=1e-5, abs=1e-6)


def assert_gradient(one: Values, expected: np.ndarray) -> None:
    assert one.gradient is not None
    assert one.gradient.norm == pytest.approx(float(np.linalg.norm(expected)), rel=1e-4, abs=1e-7)
    assert one.gradient.low == pytest.approx(float(expected.min()), rel=1e-4, abs=1e-7)
    assert one.gradient.high == pytest.approx(float(expected.max()), rel=1e-4, abs=1e-7)


def weighted(y_true, y_pred):
    error = y_true - y_pred
    large = ops.cast(ops.abs(error) > 1.0, "float32")
    return ops.mean((1.0 + large) * ops.square(error), axis=-1)


def test_shapes_dtypes_ranges_and_gradients_are_those_of_numpy() -> None:
    weight = np.linspace(0.5, 2.0, 6).astype("float32")
    report = lp.trace(weighted, Y_TRUE, Y_PRED, weight, gradients=True)
    found = expressions(report)
    error = Y_TRUE.astype("float64") - Y_PRED
    large = (np.abs(error) > 1.0).astype("float64")
    # the mean over 6 rows of weight * mean over 2 columns of (1 + large) * error**2
    outer = weight[:, None].astype("float64") / 6 / 2
    assert_values(found["y_true - y_pred"].first[0], error)
    assert_gradient(found["y_true - y_pred"].first[0], outer * (1 + large) * 2 * error)
    assert_gradient(found["y_pred"].first[0], -outer * (1 + large) * 2 * error)
    assert_values(found["ops.square(error)"].first[0], error**2)
    assert_gradient(found["ops.square(error)"].first[0], outer * (1 + large))
    compared = found["ops.abs(error) > 1.0"].first[0]
    assert (compared.dtype, compared.mean) == ("bool", pytest.approx(float(large.mean())))
    [term] = report.captures[0].terms
    expected = float(np.mean(weight * np.mean((1 + large) * error**2, axis=-1)))
    assert term.value == pytest.approx(expected, rel=1e-5)
    assert [card.name for card in term.received] == ["y_true", "y_pred", "sample_weight"]


def test_where_the_gradient_ends_is_said() -> None:
    def rounded(y_true, y_pred):
        hits = ops.argmax(y_pred, axis=-1)
        return ops.mean(ops.square(y_true - y_pred), axis=-1) + ops.cast(hits, "float32")

    found = expressions(lp.trace(rounded, Y_TRUE, Y_PRED, gradients=True))
    assert found["ops.argmax(y_pred, axis=-1)"].first[0].cut
    assert not found["ops.square(y_true - y_pred)"].first[0].cut
    assert found['ops.cast(hits, "float32")'].first[0].gradient is None


def test_no_gradients_unless_asked_for() -> None:
    found = expressions(lp.trace(weighted, Y_TRUE, Y_PRED))
    assert all(one.gradient is None and not one.cut for each in found.values() for one in each.first)


def powers(value, most):
    total = 0.0
    for power in range(1, most + 1):
        total = total + value**power
    return total


def looping(y_true, y_pred):
    parts = {"error": powers(y_true - y_pred, 3), "scale": 2.0}
    return ops.mean(parts["error"] * parts["scale"], axis=-1)


def test_loops_show_how_often_and_the_first_and_last_time_and_callees_are_entered() -> None:
    report = lp.trace(looping, Y_TRUE, Y_PRED)
    found = expressions(report)
    error = Y_TRUE.astype("float64") - Y_PRED
    power = found["value**power"]
    assert power.times == 3
    assert_values(power.first[0], error)
    assert_values(power.last[0], error**3)
    functions = report.captures[0].terms[0].functions
    assert [(f.name, f.depth) for f in functions] == [("looping", 0), ("powers", 1)]
    assert functions[1].lines[0][1] == "def powers(value, most):"
    dictionary = found['{"error": powers(y_true - y_pred, 3), "scale": 2.0}']
    assert [one.part for one in dictionary.first] == ["['error']", "['scale']"]


def test_nan_and_infinities_are_counted_and_the_range_is_of_the_rest() -> None:
    def logarithm(y_true, y_pred):
        return ops.mean(ops.log(y_pred), axis=-1)

    y_pred = np.array([[1.0, -1.0], [0.0, 2.0]], "float32")
    [one] = expressions(lp.trace(logarithm, np.zeros((2, 2), "float32"), y_pred))["ops.log(y_pred)"].first
    assert (one.nan, one.inf) == (1, 1)
    assert (one.low, one.high) == (0.0, pytest.approx(np.log(2.0), rel=1e-6))


def test_what_raises_is_shown_as_far_as_it_came() -> None:
    def failing(y_true, y_pred):
        error = y_true - y_pred
        raise ValueError(f"no loss for {error.shape}")

    report = lp.trace(failing, Y_TRUE, Y_PRED)
    [term] = report.captures[0].terms
    assert term.error == "ValueError: no loss for " + term.error.partition("for ")[2]
    assert "y_true - y_pred" in expressions(report)


def test_a_loss_of_keras_has_no_expressions_of_the_users() -> None:
    report = lp.trace("mse", Y_TRUE, Y_PRED, gradients=True)
    assert not expressions(report)
    assert "Keras's own" in str(report)
    assert report.captures[0].terms[0].value == pytest.approx(float(np.mean((Y_TRUE - Y_PRED) ** 2)), rel=1e-5)


SCRIPT = """
import keras, numpy as np
from keras import ops

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 1)).astype("float32")


def first_loss(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def second_loss(y_true, y_pred):
    return ops.mean(ops.square(y_true + y_pred), axis=-1)


def penalty(weights):
    return sum(ops.sum(ops.square(w)) for w in weights)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1, kernel_initializer="ones")

    def call(self, inputs):
        return self.dense(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(y - y_pred)) + 0.5 * penalty(self.trainable_weights)


inputs = keras.Input((3,))
two = keras.Model(inputs, [keras.layers.Dense(1, name="a")(inputs), keras.layers.Dense(1, name="b")(inputs)])
two.compile("sgd", loss=[first_loss, second_loss], loss_weights=[1.0, 0.25])
two.fit(x, [y, y], verbose=0, shuffle=False)
own = Own()
own(x)
own.compile("sgd")
own.fit(x, y, verbose=0, shuffle=False)
"""


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> TraceReport:
    path = tmp_path_factory.mktemp("traced") / "train.py"
    path.write_text(SCRIPT)
    return trace_script(path, gradients=True)


def test_a_script_with_several_losses_and_an_own_compute_loss(traced: TraceReport) -> None:
    terms = [term for capture in traced.captures for term in capture.terms]
    assert [(t.kind, t.name, t.output, t.weight) for t in terms] == [
        ("loss", "first_loss", "a", 1.0),
        ("loss", "second_loss", "b", 0.25),
        ("compute_loss", "Own.compute_loss", None, None),
    ]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
    error = y - x.sum(axis=1, keepdims=True)
    found = expressions(traced)
    assert_values(found["y - y_pred"].first[0], error)
    assert_gradient(found["y - y_pred"].first[0], 2 * error / 8)
    assert_gradient(found["ops.square(w)"].first[0], np.full((3, 1), 0.5))
    assert [f.name for f in terms[2].functions][:2] == ["Own.compute_loss", "penalty"]


def test_json_holds_what_the_report_holds(traced: TraceReport) -> None:
    content = json.loads(traced.to_json())
    assert content["version"] == 1
    assert content["gradients"] is True
    [first, *_] = content["captures"][0]["terms"][0]["functions"][0]["expressions"]
    assert set(first) == {"where", "kind", "times", "first", "last"}
    assert first["where"]["line"] == 11
    assert first["first"][0]["shape"] == [8, 1]


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("color", [None, "truecolor"])
def test_no_line_is_wider_than_the_console(traced: TraceReport, width: int, color: Any) -> None:
    out = StringIO()
    render(traced, Console(file=out, width=width, color_system=color, force_terminal=color is not None))
    text = out.getvalue()
    assert ("\x1b[" in text) == (color is not None)
    plain = StringIO()
    render(traced, Console(file=plain, width=width, color_system=None))
    assert max(map(len, plain.getvalue().splitlines())) <= width
    assert "ops.mean(ops.square(y - y_pred))" in plain.getvalue()


STEPS = {
    "tensorflow": """
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            error = y - self(x, training=True)
            loss = tf.reduce_mean(tf.square(error))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}
""",
    "torch": """
    def train_step(self, data):
        x, y = data
        self.zero_grad()
        error = y - self(x, training=True)
        loss = torch.mean(torch.square(error))
        loss.backward()
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
        return {"loss": loss}
""",
    "jax": """
    def compute(self, trainable, non_trainable, x, y):
        y_pred, non_trainable = self.stateless_call(trainable, non_trainable, x)
        error = y - y_pred
        return jnp.mean(jnp.square(error)), non_trainable

    def train_step(self, state, data):
        trainable, non_trainable, optimizer, metrics = state
        x, y = data
        (loss, non_trainable), grads = jax.value_and_grad(self.compute, has_aux=True)(trainable, non_trainable, x, y)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, grads, trainable)
        return {"loss": loss}, (trainable, non_trainable, optimizer, metrics)
""",
}


def test_a_step_of_the_users_own(tmp_path: Path, backend: str) -> None:
    imports = {"tensorflow": "import tensorflow as tf", "torch": "import torch", "jax": "import jax, jax.numpy as jnp"}
    script = (
        f"{imports[backend]}\nimport keras, numpy as np\n"
        "class Own(keras.Model):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.dense = keras.layers.Dense(1, kernel_initializer='ones')\n"
        "    def call(self, inputs):\n"
        "        return self.dense(inputs)\n" + STEPS[backend] + "\n"
        "rng = np.random.default_rng(0)\n"
        "x, y = rng.normal(size=(8, 3)).astype('float32'), rng.normal(size=(8, 1)).astype('float32')\n"
        "own = Own()\nown(x[:1])\nown.compile('sgd')\nown.fit(x, y, verbose=0, shuffle=False)\n"
    )
    path = tmp_path / "train.py"
    path.write_text(script)
    report = trace_script(path, gradients=True)
    [term] = report.captures[0].terms
    assert term.kind == "train_step"
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
    error = y - x.sum(axis=1, keepdims=True)
    assert term.value == pytest.approx(float(np.mean(error**2)), rel=1e-5)
    found: Callable[[str], Values] = lambda text: expressions(report)[text].first[0]  # noqa: E731
    whole = next(text for text in expressions(report) if text.startswith("y - "))
    assert_values(found(whole), error)
    assert_gradient(found(whole), 2 * error / 8)
    square = next(text for text in expressions(report) if "square(error)" in text and "mean" not in text)
    assert_gradient(found(square), np.full((8, 1), 1 / 8))


ADDING = """
import keras, numpy as np
from keras import layers, ops


class Shrink(layers.Layer):
    def call(self, inputs, factor=1.0):
        size = ops.mean(ops.square(inputs))
        self.add_loss(factor * size)
        return inputs


rng = np.random.default_rng(0)
x, y = rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 1)).astype("float32")
inputs = keras.Input((3,))
hidden = Shrink(name="shrink")(inputs, factor=0.5)
model = keras.Model(inputs, layers.Dense(1, activity_regularizer="l2")(hidden))
model.compile("sgd", lambda y_true, y_pred: ops.mean(ops.abs(y_true - y_pred), axis=-1))
model.fit(x, y, verbose=0, shuffle=False)
model = keras.Sequential([layers.Dense(1)])
model.compile("sgd", lambda y_true, y_pred: ops.mean(ops.square(y_true - y_pred), axis=-1))
model.fit(x, y, verbose=0, shuffle=False)
"""


def test_what_a_layer_of_the_users_adds_is_traced_in_its_call(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(ADDING)
    report = trace_script(path, gradients=True)
    terms = report.captures[0].terms
    assert [(one.kind, one.name) for one in terms] == [("loss", "<lambda>"), ("add_loss", "Shrink.add_loss of shrink")]
    assert terms[0].output == "dense"
    assert (
        report.captures[1].terms[0].output is None
    )  # of a model without named outputs Keras gives the loss's own name
    x = np.random.default_rng(0).normal(size=(8, 3))
    found = expressions(report)
    assert_values(found["ops.square(inputs)"].first[0], x**2)
    assert terms[1].value == pytest.approx(0.5 * float(np.mean(x**2)), rel=1e-5)
    assert terms[1].functions[0].name == "Shrink.call"
    assert "no gradients are taken of what a layer adds" in terms[1].notes
