"""`lp.layer` gives the values of the pass that made the outputs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import lossproof as lp

from .models import data, line, size, two_heads


def compared(y_pred, tapped):
    """Zero where the tap is what the outputs were made of."""
    return ops.sum(ops.abs(y_pred - tapped), axis=-1)


def term(**kwargs):
    return lp.Term(compared, **kwargs)


def evaluated(model, terms, x, training=True):
    """The logs of one step without an update, in training mode."""
    trainer = lp.Trainer(model, terms)
    trainer.compile(keras.optimizers.SGD(0.0))
    y = np.zeros((len(x), 1), "float32")
    return {name: float(v) for name, v in trainer.train_on_batch(x, y, return_dict=True).items()}


def test_dropout_masks_are_those_of_the_outputs():
    x = np.ones((16, 8), "float32")
    inputs = keras.Input((8,))
    dropped = keras.layers.Dropout(0.5, name="drop")(inputs)
    model = keras.Model(inputs, keras.layers.Activation("linear", name="same")(dropped))
    trainer = lp.Trainer(model, [term(tapped=lp.layer("drop")), lp.Term(size, activation=lp.layer("drop"))])
    trainer.compile(keras.optimizers.SGD(0.0))
    sizes = set()
    for _ in range(3):
        trainer.reset_metrics()
        logs = trainer.test_on_batch(x, return_dict=True)
        assert float(logs["size"]) == pytest.approx(1.0)  # no dropout in evaluation
    trainer.compile(keras.optimizers.SGD(0.0))
    model.trainable = True
    for _ in range(3):
        trainer.reset_metrics()
        y_pred = trainer(x, training=True)
        values = trainer.term_values(x, None, y_pred)
        assert float(ops.convert_to_numpy(values["compared"])) == 0.0
        sizes.add(round(float(ops.convert_to_numpy(values["size"])), 6))
    assert len(sizes) > 1  # the masks do change


def test_dropout_masks_in_compiled_steps():
    x = np.ones((16, 8), "float32")
    inputs = keras.Input((8,))
    scaled = keras.layers.Dense(8, use_bias=False, kernel_initializer="identity")(inputs)
    dropped = keras.layers.Dropout(0.5, name="drop")(scaled)
    model = keras.Model(inputs, keras.layers.Activation("linear", name="same")(dropped))
    logs = evaluated(model, [term(tapped=lp.layer("drop")), lp.Term(size, activation=lp.layer("drop"))], x)
    assert logs["compared"] == 0.0
    assert logs["size"] > 1.2  # a kept 1 became 2


class Counting(keras.layers.Layer):
    """Counts how often Python runs it."""

    calls = 0

    def call(self, x):
        Counting.calls += 1
        return 2 * x


def test_there_is_one_pass():
    x, y = data(8)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1)(Counting(name="counting")(inputs)))
    trainer = lp.Trainer(model, [lp.Term("mse"), lp.Term(size, activation=lp.layer("counting"))])
    trainer.compile("sgd", run_eagerly=True)
    trainer.train_on_batch(x, y)
    Counting.calls = 0
    trainer.train_on_batch(x, y)
    assert Counting.calls == 1


def nested():
    keras.utils.set_random_seed(2)
    a = keras.Input((4,), name="a")
    encoder = keras.Model(
        a, keras.layers.Dense(3, name="z")(keras.layers.Dropout(0.5, name="inner")(a)), name="encoder"
    )
    b = keras.Input((4,), name="b")
    return keras.Model(b, keras.layers.Dense(1, name="out")(encoder(b))), encoder


def test_layers_inside_nested_models():
    x, y = data(16)
    model, encoder = nested()
    references = [lp.layer("inner"), lp.layer("encoder/inner"), lp.layer(encoder.get_layer("inner"))]
    references.append(lp.layer(encoder.get_layer("inner").output))

    def spread(one, two, three, four):
        return sum(ops.sum(ops.abs(one - other), axis=-1) for other in (two, three, four))

    same = lp.Term(spread, **dict(zip(("one", "two", "three", "four"), references, strict=True)), serializable=False)
    trainer = lp.Trainer(model, [lp.Term("mse"), same, lp.Term(size, activation=lp.layer("inner"))])
    trainer.compile(keras.optimizers.SGD(0.0))
    logs = trainer.train_on_batch(x, y, return_dict=True)
    assert float(logs["spread"]) == 0.0
    kept = np.square(2 * x).mean() / 2
    assert 0.3 * kept < float(logs["size"]) < 1.9 * kept  # half of the entries, doubled
    assert "call" not in vars(encoder)
    assert "call" not in vars(model)


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")  # the term does not reach the heads
def test_gradients_flow_through_taps():
    x, _ = data(16)
    model = two_heads()
    before = model.get_weights()
    trainer = lp.Trainer(model, [lp.Term(size, activation=lp.layer("hidden"))])
    trainer.compile(keras.optimizers.SGD(1.0))
    trainer.train_on_batch(x, None)
    kernel, bias = (np.asarray(one, "float64") for one in before[:2])
    h = np.tanh(x @ kernel + bias)
    slope = 2 * h * (1 - h**2) / h.size
    np.testing.assert_allclose(model.get_weights()[0], kernel - x.T @ slope, atol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[2], before[2])


def test_a_tap_that_is_an_output():
    x, _ = data(16)
    model = line()
    logs = evaluated(model, [term(tapped=lp.layer("out"))], x)
    assert logs["compared"] == 0.0


def shared():
    keras.utils.set_random_seed(2)
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    tower = keras.layers.Dense(1, name="tower")
    a, b = tower(left), tower(right)
    return keras.Model([left, right], keras.layers.Subtract(name="gap")([a, b])), a, b


def test_shared_layers_ask_which_call():
    x, _ = data(16)
    model, a, b = shared()
    with pytest.raises(ValueError, match=r"'tower' is called 2 times.*lp.layer\('tower', call=0\) or .*call=1"):
        lp.Trainer(model, [lp.Term(size, activation=lp.layer("tower"))])

    def rest(y_pred, first, second, third, fourth):
        return ops.sum(ops.abs(y_pred - (first - second)) + ops.abs(first - third) + ops.abs(second - fourth), axis=-1)

    named = {"first": lp.layer("tower", call=0), "second": lp.layer("tower", call=1)}
    trainer = lp.Trainer(model, [lp.Term(rest, **named, third=lp.layer(a), fourth=lp.layer(b), serializable=False)])
    trainer.compile("sgd")
    logs = trainer.evaluate([x, 2 * x], None, verbose=0, return_dict=True)
    assert logs["rest"] == pytest.approx(0.0, abs=1e-6)


def test_unbuilt_sequential_models():
    x, y = data(16)
    model = keras.Sequential([keras.layers.Dense(3, name="h"), keras.layers.Dense(1, name="out")])
    trainer = lp.Trainer(model, [lp.Term("mse"), lp.Term(size, activation=lp.layer("h"), weight=0.1)])
    trainer.compile("sgd")
    history = trainer.fit(x, y, epochs=2, verbose=0).history
    np.testing.assert_allclose(history["loss"], np.add(history["mse"], np.multiply(0.1, history["size"])), rtol=1e-6)


class Opaque(keras.Model):
    """No graph to look into."""

    def __init__(self):
        super().__init__()
        self.z = keras.layers.Dense(2, name="z")

    def call(self, x):
        return self.z(x)


def test_subclassed_models_are_told_to_return_their_intermediates():
    with pytest.raises(
        ValueError, match=r'no graph to look into.*return \{"prediction": y, "z": z\}.*lp.output\("z"\)'
    ):
        lp.Trainer(Opaque(), [lp.Term(size, activation=lp.layer("z"))])


def test_layers_inside_a_subclassed_model_are_told_of():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Opaque()(inputs))
    with pytest.raises(ValueError, match=r"There is one inside 'opaque', a Opaque, whose call\(\) is Python code"):
        lp.Trainer(model, [lp.Term(size, activation=lp.layer("z"))])


def test_other_predictions_than_the_last_have_their_own_pass():
    x, y = data(16)
    model = two_heads()
    trainer = lp.Trainer(model, [lp.Term(size, activation=lp.layer("hidden"))])
    trainer.compile("sgd")
    y_pred = model(x)
    value = trainer.term_values(x, y, y_pred, training=False)["size"]
    hidden = keras.Model(model.inputs, model.get_layer("hidden").output).predict(x, verbose=0)
    assert float(ops.convert_to_numpy(value)) == pytest.approx(np.square(hidden).mean(), rel=1e-5)
