"""What lossproof leans on of Keras's privates is still there, and does what it is used for."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossproof import keras_private


def number(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


@pytest.fixture
def two_heads():
    inputs = keras.Input((3,), name="x")
    hidden = layers.Dense(4, name="hidden")(inputs)
    outputs = {"a": layers.Dense(1, name="a")(hidden), "b": layers.Dense(1, name="b")(hidden)}
    return keras.Model(inputs, outputs)


@pytest.fixture
def line():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile("sgd", "mse", metrics=[keras.losses.mean_absolute_error])
    return model


X, Y = np.array([[1.0, 2.0], [3.0, 4.0]], "float32"), np.array([[1.0], [2.0]], "float32")


# graph ---------------------------------------------------------------------------------------------------------------


def test_the_graph_of_a_model(two_heads, line):
    assert keras_private.runs_its_graph(two_heads)
    assert keras_private.runs_its_graph(line)
    assert not keras_private.runs_its_graph(keras.Sequential([layers.Dense(1)]))
    assert {one.name for one in keras_private.operations_of(two_heads)} == {"x", "hidden", "a", "b"}
    hidden = two_heads.get_layer("hidden")
    ((tensor,),) = keras_private.calls_of(two_heads, hidden)
    assert tensor is hidden.output
    assert keras_private.maker_of(tensor) is hidden
    assert keras_private.layer_of(tensor) == "hidden"
    assert keras_private.layer_of(np.ones(2)) is None
    assert keras_private.output_structure(two_heads)["a"] is two_heads.get_layer("a").output
    assert keras.tree.flatten(keras_private.input_structure(two_heads)) == two_heads.inputs


def test_layers_are_found_however_deep(two_heads):
    inputs = keras.Input((3,))
    outer = keras.Model(inputs, two_heads(inputs))
    names = {one.name for one in keras_private.layers_of(outer)}
    assert {"hidden", "a", "b"} <= names
    assert keras_private.is_functional(outer)
    assert not keras_private.is_functional(keras.Sequential([layers.Dense(1)]))


def test_what_keras_sets_itself_is_known():
    names = keras_private.set_by_keras()
    assert {"built", "_compile_loss", "stop_training"} <= names
    assert "beta" not in names


# compiling -----------------------------------------------------------------------------------------------------------


def test_what_compile_was_given(line):
    assert keras_private.compile_arguments(line)["loss"] == "mse"
    assert keras_private.compile_config(line)["loss"] == "mse"
    keras_private.build(line, (X, Y, None))
    ((_, loss, weight, _),) = keras_private.flat_losses(line)
    assert keras_private.wrapped_function(loss) is keras.losses.mean_squared_error
    assert weight is None
    assert keras_private.compile_loss(line) is not None
    (metric,) = keras_private.compile_metrics(line).metrics
    assert keras_private.metric_function(metric) is keras.losses.mean_absolute_error


def test_another_loss_is_compiled_for_a_while(line):
    before = keras_private.compile_loss(line)
    batch = SimpleNamespace(x=X, y=Y, sample_weight=None)
    y_pred = np.array([[3.0], [7.0]], "float32")
    assert number(keras_private.compiled_total(line, {"loss": "mse"}, batch, y_pred)) == np.mean([2.0**2, 5.0**2])
    with keras_private.recompiled(line, "mae", None):
        assert number(line.compute_loss(X, Y, y_pred)) == np.mean([2.0, 5.0])
    assert keras_private.compile_loss(line) is before
    with pytest.raises(ValueError, match="nothing"):
        keras_private.update_fresh_metrics(line, "nothing", None, batch, y_pred)


def test_a_model_is_saved_without_its_compile(line, tmp_path):
    with keras_private.without_compile_config():
        line.save(tmp_path / "m.keras")
    assert not keras.saving.load_model(tmp_path / "m.keras").compiled


def test_callbacks_find_the_direction_of_a_log():
    many = keras_private.metrics_list()([keras_private.monitored("kl", falls=True)])
    assert isinstance(many, keras.Metric)
    assert many.metrics[0].name == "kl"


# losses --------------------------------------------------------------------------------------------------------------


def test_ranks_are_aligned_and_functions_wrapped():
    y_true, y_pred = keras_private.of_one_rank(ops.ones((4,)), ops.zeros((4, 1)))
    assert tuple(y_true.shape) == tuple(y_pred.shape) == (4, 1)
    loss = keras_private.loss_of_function(keras.losses.huber, "h", "sum", {"delta": 0.5})
    assert number(loss(np.zeros((4, 1)), np.ones((4, 1)))) == 4 * (0.5 * 1 - 0.5 * 0.5**2)
    assert keras_private.bound_arguments(loss) == {"delta": 0.5}
    keras_private.bind_arguments(loss, {"delta": 1.0})
    assert number(loss(np.zeros((4, 1)), np.ones((4, 1)))) == 4 * 0.5
    wrapped = keras_private.wrap_function(keras.losses.mean_squared_error)
    assert keras_private.wrapped_function(wrapped) is keras.losses.mean_squared_error
    assert keras_private.wrapped_function(keras.losses.MeanSquaredError()) is None


def test_without_replicas_shares_are_the_whole():
    assert number(keras_private.share_of_replica(ops.ones(()))) == 1.0
    assert number(keras_private.undivided(ops.ones(()))) == 1.0


def test_values_are_reduced_with_their_mask():
    values, mask = ops.convert_to_tensor([1.0, 5.0, 3.0]), ops.convert_to_tensor([True, False, True])
    assert number(keras_private.reduced_values(values, mask, "sum_over_batch_size", "float32")) == 2.0


# masks ---------------------------------------------------------------------------------------------------------------


def test_masks_are_kept_on_tensors():
    tensor, mask = ops.ones((2, 3)), ops.convert_to_tensor([[True, False, True]] * 2)
    assert keras_private.mask_of(tensor) is None
    keras_private.set_mask(tensor, None)
    assert keras_private.mask_of(tensor) is None
    keras_private.set_mask(tensor, mask)
    assert keras_private.mask_of(tensor) is mask


# steps and feeding -----------------------------------------------------------------------------------------------------


def test_what_a_trainer_keeps_of_its_steps(line):
    assert keras_private.takes_training(line)
    line.fit(X, Y, verbose=0)
    assert keras_private.optimized_variables(line.optimizer) == line.trainable_variables
    assert keras_private.loss_tracker(line).name == "loss"
    assert int(keras_private.steps_applied(line.optimizer)) == int(line.optimizer.iterations) > 0
    assert not keras_private.steps_hold_the_state(line)
    assert not keras_private.in_stateless_scope()
    with keras.StatelessScope():
        assert keras_private.in_stateless_scope()
    assert keras_private.reported_logs(line, {"loss": 1.0, "other": 2.0})["other"] == 2.0


@pytest.mark.backend("jax")
def test_losses_of_a_stateless_pass_stand_for_the_models(line):
    with keras_private.forward_losses(line, [ops.ones(())]):
        assert number(sum(line.losses)) == 1.0
    assert not line.losses
    keras_private.use_forward_losses(line, [ops.ones(())])
    assert len(line.losses) == 1


@pytest.mark.backend("jax")
def test_a_fit_that_fails_leaves_the_values(line):
    line.compile("sgd", lambda y_true, y_pred: 1 / 0)
    before = [number(one).tolist() for one in line.trainable_variables]
    with pytest.raises(ZeroDivisionError), keras_private.values_kept(line):
        line.fit(X, Y, verbose=0)
    assert [number(one).tolist() for one in line.trainable_variables] == before


def test_the_batches_of_a_fit_are_read_in_order():
    rows = np.arange(5, dtype="float32")[:, None]
    batches = [number(x)[:, 0] for x, *_ in keras_private.epoch_data({"x": rows, "y": rows, "batch_size": 2})]
    assert [one.tolist() for one in batches] == [[0.0, 1.0], [2.0, 3.0], [4.0]]
    owner, name = keras_private.adapter_maker()
    assert callable(getattr(owner, name))


def test_class_weights_become_sample_weights():
    weights = keras_private.class_weights_to_sample_weights(np.array([0, 1, 1]), {0: 1.0, 1: 3.0})
    assert number(weights).tolist() == [1.0, 3.0, 3.0]


# backends and files ------------------------------------------------------------------------------------------------


def test_tensors_are_stacked():
    np.testing.assert_array_equal(ops.convert_to_numpy(keras_private.stack([ops.ones(()), ops.zeros(())])), [1, 0])


def test_the_backends_functions_are_where_they_were():
    assert callable(keras_private.backend_core().stop_gradient)


@pytest.mark.backend("tensorflow")
def test_logits_are_hidden_from_crossentropies():
    probabilities = ops.softmax(ops.convert_to_tensor([[1.0, 2.0]]))
    target = np.array([[0.0, 3.0]], "float32")  # does not sum to 1
    loss = keras.losses.categorical_crossentropy

    def gradient():
        import tensorflow as tf

        logits = tf.constant([[1.0, 2.0]])
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(target, tf.nn.softmax(logits))
        return number(tape.gradient(value, logits))[0]

    p = number(probabilities)[0]
    with keras_private.logits_hidden():
        np.testing.assert_allclose(gradient(), [3 * p[0], 3 * (p[1] - 1)], rtol=1e-5)


def test_whoever_draws_with_an_integer_for_a_seed_is_heard():
    heard = []

    def give(name, seed, given, drawn):
        heard.append((name, seed, tuple(drawn.shape)))
        return drawn

    with keras_private.integer_seeds(lambda seed: seed + 1, give):
        normal = keras.random.normal((2, 3), seed=4)
        keras.random.dropout(ops.ones((5,)), 0.5, seed=7)
        keras.random.truncated_normal((2,), seed=8)
        keras.random.uniform((2,), seed=keras.random.SeedGenerator(9))
        keras.random.uniform((2,))
        keras.initializers.RandomNormal(seed=10)((2, 2))
    drawn = [("normal", 4, (2, 3)), ("dropout", 7, (5,)), ("truncated_normal", 8, (2,)), ("normal", 10, (2, 2))]
    assert heard == drawn
    np.testing.assert_array_equal(number(normal), number(keras.random.normal((2, 3), seed=5)))


def test_the_functions_that_write_and_read_models():
    for owner, name in [*keras_private.savers(), *keras_private.loaders()]:
        assert "filepath" in inspect.signature(getattr(owner, name)).parameters


def test_private_names_of_keras_are_used_nowhere_else():
    source = Path(inspect.getfile(keras_private)).parents[1]
    elsewhere = [
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if path.parent.name != "keras_private" and "from keras.src" in path.read_text(encoding="utf-8")
    ]
    assert elsewhere == []
