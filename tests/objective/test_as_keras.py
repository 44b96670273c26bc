"""A Trainer on built-in losses trains bit for bit as `compile(loss=...)` does: reductions, masks, weights of any kind."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import lossproof as lp

from .models import data, line, numpy_weights, same


def sequence_model(outputs=1):
    """Ids (T,) with 0 as padding -> (T, outputs), masked."""
    keras.utils.set_random_seed(8)
    ids = keras.Input((5,), dtype="int32", name="ids")
    h = keras.layers.Embedding(7, 4, mask_zero=True)(ids)
    return keras.Model(ids, keras.layers.Dense(outputs, name="out")(h))


def two_outputs(structure):
    keras.utils.set_random_seed(4)
    x = keras.Input((4,), name="x")
    h = keras.layers.Dense(3, activation="tanh")(x)
    a, b = keras.layers.Dense(1, name="a")(h), keras.layers.Dense(2, name="b")(h)
    return keras.Model(x, {"list": [a, b], "dict": {"a": a, "b": b}}[structure])


def both(make, keras_loss, terms, fit, epochs=2, **compiled):
    """Train the same model both ways; the histories. Weights and losses are the same, bit for bit."""
    plain = make()
    plain.compile("sgd", loss=keras_loss, **compiled)
    theirs = plain.fit(**fit, epochs=epochs, batch_size=8, shuffle=False, verbose=0).history
    model = make()
    trainer = lp.Trainer(model, terms)
    trainer.compile("sgd")
    ours = trainer.fit(**fit, epochs=epochs, batch_size=8, shuffle=False, verbose=0).history
    # XLA fuses the two programs, of which one logs more, in different ways; the operations are the same.
    tolerance = 2e-6 if keras.backend.backend() == "jax" else 0.0
    same(numpy_weights(plain), numpy_weights(model), tolerance)
    np.testing.assert_allclose(theirs["loss"], ours["loss"], rtol=tolerance)
    if "class_weight" not in fit:
        x, y = _copied(fit["x"]), _copied(fit["y"])
        plain.set_weights(model.get_weights())
        # To each weights of its own: Keras on torch multiplies a mask into those that it is given.
        one, other = (m.compute_loss(x, y, m(x), _copied(fit.get("sample_weight"))) for m in (plain, trainer))
        assert float(ops.convert_to_numpy(one)) == float(ops.convert_to_numpy(other))
    return theirs, ours


def _copied(arrays):
    return keras.tree.map_structure(lambda one: None if one is None else ops.convert_to_tensor(np.array(one)), arrays)


@pytest.mark.parametrize("loss", ["mse", "mean_absolute_error", keras.losses.Huber(0.3), keras.losses.LogCosh()])
@pytest.mark.parametrize("weighted", [False, True])
def test_single_output(loss, weighted):
    x, y = data(22)
    weight = np.linspace(0.1, 3, 22).astype("float32") if weighted else None
    _, ours = both(line, loss, [lp.Term(loss, name="only")], {"x": x, "y": y, "sample_weight": weight})
    assert ours["only"] == ours["loss"]


def test_targets_without_the_last_axis_are_aligned_as_for_a_function_given_to_compile():
    x, y = data(22)
    both(line, "mse", [lp.Term("mse")], {"x": x, "y": y[:, 0]})


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight"])
def test_reductions(reduction):
    x, y = data(22)
    weight = np.linspace(0.1, 3, 22).astype("float32")
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    fit = {"x": x / 10, "y": y, "sample_weight": weight}
    both(line, loss, [lp.Term(keras.losses.MeanSquaredError(reduction=reduction))], fit)
    both(line, loss, [lp.Term("mse", reduction=reduction)], fit)


def test_class_weights():
    x, y = data(22)
    ids = (y[:, 0] > 0).astype("int32")

    def classifier():
        keras.utils.set_random_seed(1)
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])

    fit = {"x": x, "y": ids, "class_weight": {0: 0.3, 1: 4.0}}
    both(classifier, "sparse_categorical_crossentropy", [lp.Term("sparse_categorical_crossentropy")], fit)


@pytest.mark.parametrize("weights", [None, "sample", "step"])
def test_masks(weights):
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 7, (22, 5))
    ids[:, 3:] = 0
    ids[::3, 1:] = 0
    y = rng.normal(size=(22, 5, 1)).astype("float32")
    shape = {"sample": (22, 1), "step": (22, 5)}
    weight = rng.uniform(0.1, 3, shape[weights]).astype("float32") if weights else None
    if weights == "sample":  # which Keras takes on two backends of three
        weight = np.repeat(weight, 5, axis=1)
    fit = {"x": ids, "y": y, "sample_weight": weight}
    both(sequence_model, "mse", [lp.Term("mse")], fit)
    if weights == "sample":
        logs = []
        for given in (weight, weight[:, :1], weight[:, 0]):
            trainer = lp.Trainer(sequence_model(), [lp.Term("mse")])
            trainer.compile("sgd")
            logs.append(trainer.evaluate(ids, y, sample_weight=given, verbose=0, return_dict=True)["mse"])
        assert logs[0] == logs[1] == logs[2]


def test_a_mask_can_be_left_out():
    ids = np.array([[1, 2, 0, 0, 0]] * 8)
    y = np.ones((8, 5, 1), "float32")
    model = sequence_model()
    trainer = lp.Trainer(model, [lp.Term("mse"), lp.Term("mse", mask=False, name="all")])
    trainer.compile("sgd")
    logs = trainer.evaluate(ids, y, verbose=0, return_dict=True)
    errors = np.square(np.asarray(model.predict(ids, verbose=0)) - y)[..., 0]
    np.testing.assert_allclose(logs["mse"], errors[:, :2].mean(), rtol=1e-5)
    np.testing.assert_allclose(logs["all"], errors.mean(), rtol=1e-5)


def test_masks_do_not_change_the_sample_weights_of_the_next_term():
    # Keras on torch multiplies the mask into the weights that it was given.
    ids = np.array([[1, 2, 0, 0, 0], [3, 0, 0, 0, 0]] * 4)
    y, weight = np.ones((8, 5, 1), "float32"), np.full((8, 5), 2.0, "float32")
    trainer = lp.Trainer(sequence_model(), [lp.Term("mse"), lp.Term("mse", name="again")])
    trainer.compile("sgd")
    logs = trainer.evaluate(ids, y, sample_weight=weight, verbose=0, return_dict=True)
    assert logs["mse"] == logs["again"]


def test_weights_per_sample_act_on_samples_of_finer_values():
    # Keras raises here, or, where B == T, weights the time steps.
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 7, (5, 5))
    ids[0, 2:] = 0
    y = rng.normal(size=(5, 5, 1)).astype("float32")
    weight = np.arange(1.0, 6.0, dtype="float32")
    model = sequence_model()
    trainer = lp.Trainer(model, [lp.Term("mse")])
    trainer.compile("sgd")
    logs = trainer.evaluate(ids, y, sample_weight=weight, verbose=0, return_dict=True, batch_size=5)
    errors = np.square(np.asarray(model.predict(ids, verbose=0)) - y)[..., 0]
    mask = ids != 0
    np.testing.assert_allclose(logs["mse"], (errors * weight[:, None] * mask).sum() / mask.sum(), rtol=1e-5)


@pytest.mark.parametrize("structure", ["list", "dict"])
@pytest.mark.parametrize("weights", [None, "one", "each"])
def test_two_outputs_with_loss_weights(structure, weights):
    x, y = data(22)
    a, b = y, np.concatenate([y, -y], axis=1)
    w = np.linspace(0.1, 3, 22).astype("float32")
    pack = {"list": lambda *pair: list(pair), "dict": lambda *pair: dict(zip("ab", pair, strict=True))}[structure]
    fit = {"x": x, "y": pack(a, b), "sample_weight": {None: None, "one": w, "each": pack(w, 1 / w)}[weights]}
    theirs, ours = both(
        lambda: two_outputs(structure),
        pack("mse", "mae"),
        [lp.Term("mse", output="a", weight=0.7), lp.Term("mae", output="b", weight=0.2)],
        fit,
        loss_weights=pack(0.7, 0.2),
    )
    for term, output in (("mse", "a_loss"), ("mae", "b_loss")):
        np.testing.assert_allclose(theirs[output], ours[term], rtol=2e-6)


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")  # for the output without a loss
def test_an_output_without_a_term_is_one_with_loss_none():
    x, y = data(22)
    b = np.concatenate([y, -y], axis=1)
    fit = {"x": x, "y": {"a": y, "b": b}}
    both(lambda: two_outputs("dict"), {"a": None, "b": "mae"}, [lp.Term("mae", output="b")], fit)


def test_regularization_and_added_losses_are_counted_once():
    x, y = data(22)

    def make():
        return line(kernel_regularizer="l2", activity_regularizer="l1")

    _, ours = both(make, "mse", [lp.Term("mse")], {"x": x, "y": y})
    np.testing.assert_allclose(ours["loss"], np.add(ours["mse"], ours["regularization"]), rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    x, y = data(22)

    def make():
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            return line()
        finally:
            keras.config.set_dtype_policy(before)

    both(make, "mse", [lp.Term("mse")], {"x": x, "y": y})


def test_gradient_accumulation_and_moving_averages_of_weights():
    x, y = data(48)
    results = []
    for wrap in (False, True):
        model = line()
        optimizer = keras.optimizers.Adam(0.05, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.5)
        target = lp.Trainer(model, [lp.Term("mse")]) if wrap else model
        target.compile(optimizer, **({} if wrap else {"loss": "mse"}))
        target.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        results.append(numpy_weights(model))
    same(*results)
