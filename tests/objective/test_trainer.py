"""A Trainer trains as a hand-written `compute_loss` does, and its logs add up to the loss on each step."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import lossproof as lp

from .models import data, gaussian_nll, line, nll_term, numpy_weights, same, size, squared, two_heads


class ByHand(keras.Model):
    """The objective of `annealed` as a user would write it: an extended model, and a step counter of its own."""

    def __init__(self, model):
        super().__init__()
        self.extended = keras.Model(model.inputs, {"outputs": model.output, "hidden": model.get_layer("hidden").output})
        self.batches = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, x, training=None):
        return self.extended(x, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        outputs, hidden = y_pred["outputs"], y_pred["hidden"]
        weight = ops.minimum(ops.cast(self.batches, "float32") / 10, 1.0)
        loss = ops.mean(gaussian_nll(y, outputs["rating"], outputs["log_var"]))
        loss = loss + weight * ops.mean(size(hidden)) + 0.5 * ops.mean(squared(y, outputs["rating"]))
        if training:
            self.batches.assign_add(1)
        return loss + sum(self.losses)


def annealed(model):
    return lp.Trainer(
        model,
        lp.Objective(
            [
                nll_term(),
                lp.Term(size, activation=lp.layer("hidden"), weight=lp.schedules.Linear(0.0, 1.0, steps=10)),
                lp.Term(squared, output="rating", weight=0.5),
            ]
        ),
    )


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_trains_as_written_by_hand(dropout):
    x, y = data(80)
    results = []
    for make in (ByHand, annealed):
        model = two_heads(dropout, regularizer=keras.regularizers.L2(0.01))
        trainer = make(model)
        trainer.compile(keras.optimizers.Adam(0.01))
        trainer.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        results.append(numpy_weights(model))
    same(*results, tolerance=1e-5)


class Account(keras.callbacks.Callback):
    """The logs of each batch."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append({name: float(value) for name, value in logs.items()})


def test_the_loss_is_the_sum_of_the_logs_after_each_step():
    # Batches of unequal size, a weight that moves, regularization.
    x, y = data(22)
    trainer = annealed(two_heads(0.3, regularizer="l2"))
    trainer.compile(keras.optimizers.SGD(0.05))
    account = Account()
    history = trainer.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[account], validation_data=(x, y)).history
    assert len(account.logs) == 9
    for logs in account.logs:
        total = logs["gaussian_nll"] + logs["size_contribution"] + 0.5 * logs["squared"] + logs["regularization"]
        np.testing.assert_allclose(logs["loss"], total, rtol=1e-6)
    np.testing.assert_allclose([one["size_weight"] for one in account.logs], np.arange(9) / 10, rtol=1e-6)
    names = {"loss", "gaussian_nll", "size", "size_weight", "size_contribution", "squared", "regularization"}
    assert set(history) == names | {f"val_{name}" for name in names}


def test_on_one_batch_the_loss_is_the_sum_of_weights_times_terms():
    x, y = data(8)
    trainer = annealed(two_heads())
    trainer.compile("sgd")
    for step in range(4):
        trainer.reset_metrics()
        logs = {name: float(value) for name, value in trainer.train_on_batch(x, y, return_dict=True).items()}
        assert logs["size_weight"] == pytest.approx(step / 10)
        total = logs["gaussian_nll"] + logs["size_weight"] * logs["size"] + 0.5 * logs["squared"]
        assert logs["loss"] == pytest.approx(total, rel=1e-6)
        assert "regularization" not in logs


def test_terms_are_means_over_samples_not_over_batches():
    x, y = data(10)
    y[8:] += 100
    model = line()
    trainer = lp.Trainer(model, [lp.Term("mse")])
    trainer.compile("sgd")
    logs = trainer.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    errors = np.square(np.asarray(model.predict(x, verbose=0), "float64") - y)
    assert logs["mse"] == pytest.approx(errors.mean(), rel=1e-5)
    assert logs["mse"] == logs["loss"]


def test_evaluation_counts_no_steps_and_uses_the_present_weight():
    x, y = data(8)
    trainer = annealed(two_heads())
    trainer.compile("sgd")
    for _ in range(3):
        trainer.train_on_batch(x, y)
    first = trainer.evaluate(x, y, verbose=0, return_dict=True)
    assert first["size_weight"] == pytest.approx(0.3)
    assert trainer.evaluate(x, y, verbose=0, return_dict=True) == first


def test_outputs_are_those_of_the_model():
    x, y = data(8)
    model = two_heads(0.5)
    trainer = annealed(model)
    trainer.compile("sgd")
    trainer.fit(x, y, verbose=0)
    theirs, ours = model.predict(x, verbose=0), trainer.predict(x, verbose=0)
    assert set(theirs) == set(ours)
    for name, value in theirs.items():
        np.testing.assert_array_equal(value, ours[name])


def test_the_model_stays_as_it_is(tmp_path):
    x, y = data(8)
    model = two_heads()
    before, attributes = model.get_config(), set(vars(model))
    trainer = annealed(model)
    trainer.compile("adam", metrics={"rating": ["mae"]})
    trainer.fit(x, y, verbose=0)
    assert model.get_config() == before
    assert set(vars(model)) == attributes
    assert model.get_layer("hidden").output is not None  # has one node still
    model.save(tmp_path / "inference.keras")
    loaded = keras.saving.load_model(tmp_path / "inference.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0)["rating"], model.predict(x, verbose=0)["rating"])


def test_metrics_by_output_name():
    x, y = data(24)
    cases = {
        "dict": (two_heads(), {"rating": ["mae"]}, "rating_mae", {"rating": y}),
        "dict, one array": (two_heads(), {"rating": ["mae"]}, "rating_mae", y),
        "single": (line(), ["mae"], "mae", y),
    }
    for model, metrics, log, targets in cases.values():
        term = nll_term() if log == "rating_mae" else lp.Term("mse")
        trainer = lp.Trainer(model, [term])
        trainer.compile("sgd", metrics=metrics)
        logs = trainer.evaluate(x, targets, verbose=0, return_dict=True)
        predicted = model.predict(x, verbose=0)
        predicted = predicted["rating"] if isinstance(predicted, dict) else predicted
        assert logs[log] == pytest.approx(np.abs(np.asarray(predicted, "float64") - y).mean(), rel=1e-5)


def test_metrics_of_a_list_of_outputs_take_targets_by_name():
    x, y = data(24)
    heads = two_heads()
    model = keras.Model(heads.inputs, [heads.output["rating"], heads.output["log_var"]])
    trainer = lp.Trainer(model, [lp.Term("mse", output="rating"), lp.Term("mae", output="log_var")])
    trainer.compile("sgd", metrics={"log_var": ["mse"]}, weighted_metrics={"rating": ["mae"]})
    weight = np.linspace(0, 2, 24).astype("float32")
    targets = {"log_var": 2 * y, "rating": y}
    logs = trainer.evaluate(
        x, targets, sample_weight={"rating": weight, "log_var": weight}, verbose=0, return_dict=True
    )
    rating, log_var = (np.asarray(one, "float64") for one in model.predict(x, verbose=0))
    assert logs["log_var_mse"] == pytest.approx(np.square(log_var - 2 * y).mean(), rel=1e-5)
    expected = (np.abs(rating - y)[:, 0] * weight).sum() / weight.sum()
    assert logs["rating_mae"] == pytest.approx(expected, rel=1e-5)


def test_a_metric_named_like_a_term_is_numbered():
    x, y = data(8)
    trainer = lp.Trainer(line(), [lp.Term("mse", weight=2.0)])
    trainer.compile("sgd", metrics=["mse"])
    logs = trainer.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["mse"] == pytest.approx(logs["mse_1"], rel=1e-6)
    assert logs["loss"] == pytest.approx(2 * logs["mse"], rel=1e-6)


def test_targets_that_are_no_outputs_and_extra_inputs():
    x, y = data(24)
    keras.utils.set_random_seed(1)
    features = keras.Input((4,), name="features")
    model = keras.Model({"features": features}, keras.layers.Dense(1, name="score")(features))

    def scaled(y_true, y_pred, scale, offset):
        return ops.mean(ops.square((y_true - y_pred) / scale), axis=-1) + 0 * offset

    term = lp.Term(
        scaled, y_true=lp.target("truth"), scale=lp.target("scale"), offset=lp.input("offset"), serializable=False
    )
    trainer = lp.Trainer(model, [term])
    trainer.compile("sgd")
    scale = np.full((24, 1), 2.0, "float32")
    inputs = {"features": x, "offset": np.ones((24, 1), "float32")}
    logs = trainer.evaluate(inputs, {"truth": y, "scale": scale}, verbose=0, return_dict=True)
    predicted = np.asarray(model.predict({"features": x}, verbose=0), "float64")
    assert logs["loss"] == pytest.approx(np.square((y - predicted) / 2).mean(), rel=1e-5)


def test_a_term_that_takes_the_sample_weights_is_not_weighted_again():
    x, y = data(24)
    weight = np.linspace(0, 2, 24).astype("float32")

    def own(y_true, y_pred, w):
        return ops.sum(w * ops.mean(ops.square(y_true - y_pred), axis=-1)) / ops.sum(w)

    model = line()
    trainer = lp.Trainer(model, [lp.Term(own, w=lp.sample_weight(), serializable=False)])
    trainer.compile("sgd")
    logs = trainer.evaluate(x, y, sample_weight=weight, verbose=0, return_dict=True)
    errors = np.square(np.asarray(model.predict(x, verbose=0), "float64") - y)[:, 0]
    assert logs["own"] == pytest.approx((weight * errors).sum() / weight.sum(), rel=1e-5)


def test_integer_inputs_and_targets_with_a_type_stay_exact():
    big = 2**24 + 1
    ids = keras.Input((1,), dtype="int32", name="ids")
    model = keras.Model(ids, keras.layers.Dense(1, name="out", kernel_initializer="zeros")(ops.cast(ids, "float32")))

    def differs(ids, label, y_pred):
        return ops.cast(ids[:, 0] - label[:, 0], "float32") + 0 * y_pred[:, 0]

    trainer = lp.Trainer(model, [lp.Term(differs, label=lp.target(dtype="int32"), serializable=False)])
    trainer.compile("sgd")
    x = np.array([[big], [big]], "int32")
    logs = trainer.evaluate(x, x - 1, verbose=0, return_dict=True)
    assert logs["differs"] == 1.0


def test_step_is_live_and_counts_optimizer_steps():
    x, y = data(48)

    def at(y_pred, step):
        return ops.cast(step, "float32") + 0 * ops.mean(y_pred, axis=-1)

    for every in (None, 2):
        trainer = lp.Trainer(line(), [lp.Term(at, step=lp.step(), serializable=False)])
        trainer.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=every))
        seen = []
        for _ in range(6):
            trainer.reset_metrics()
            seen.append(float(trainer.train_on_batch(x, y, return_dict=True)["at"]))
        assert seen == ([0, 1, 2, 3, 4, 5] if every is None else [0, 0, 1, 1, 2, 2])
        assert int(ops.convert_to_numpy(trainer.steps_made())) == int(
            ops.convert_to_numpy(trainer.optimizer.iterations)
        )


def test_a_variable_is_a_weight_that_a_callback_sets():
    x, y = data(16)
    weight = keras.Variable(1.0, trainable=False, name="w")
    trainer = lp.Trainer(line(), [lp.Term("mse", weight=weight)])
    trainer.compile(keras.optimizers.SGD(0.0))
    turn = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: weight.assign(epoch + 1.0))
    history = trainer.fit(x, y, epochs=3, verbose=0, callbacks=[turn]).history
    np.testing.assert_allclose(history["mse_weight"], [1, 2, 3])
    np.testing.assert_allclose(history["loss"], np.multiply(history["mse"], [1, 2, 3]), rtol=1e-6)


def test_a_layer_among_the_arguments_is_live_and_not_trained():
    x, y = data(16)
    teacher = line(seed=9)

    def imitate(y_pred, x, teacher):
        return ops.mean(ops.square(y_pred - teacher(x)), axis=-1)

    model = line(seed=3)
    trainer = lp.Trainer(model, [lp.Term(imitate, teacher=teacher, x=lp.input(), serializable=False)])
    trainer.compile(keras.optimizers.SGD(0.1, momentum=0.1))
    before = numpy_weights(teacher)
    first = trainer.fit(x, y, epochs=3, verbose=0).history["loss"][-1]
    same(before, numpy_weights(teacher))
    assert not [v for v in trainer.trainable_variables if any(v is one for one in teacher.variables)]
    assert len(trainer.optimizer.variables) == 2 + len(
        model.trainable_variables
    )  # iterations, rate, momenta of the model
    teacher.set_weights([one + 5 for one in before])
    assert trainer.fit(x, y, epochs=1, verbose=0).history["loss"][-1] > 10 * first


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")  # the term does not reach the model
def test_trainable_variables_of_terms_are_trained():
    x, y = data(16)
    centre = keras.Variable(np.zeros((1, 1), "float32"), name="centre")

    def far(y_pred, centre):
        return ops.mean(ops.square(ops.stop_gradient(y_pred) - centre), axis=-1)

    trainer = lp.Trainer(line(), [lp.Term(far, centre=centre, serializable=False)])
    trainer.compile(keras.optimizers.SGD(0.5))
    trainer.fit(x, y, epochs=30, verbose=0)
    mean = np.asarray(trainer.predict(x, verbose=0)).mean()
    np.testing.assert_allclose(ops.convert_to_numpy(centre), [[mean]], rtol=1e-4)


class Subclassed(keras.Model):
    """An unbuilt model with a dict of outputs."""

    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(6, activation="tanh")
        self.drop = keras.layers.Dropout(0.5, seed=1)
        self.head = keras.layers.Dense(1)

    def call(self, x, training=False):
        h = self.drop(self.hidden(x), training=training)
        return {"prediction": self.head(h), "hidden": h}


def test_a_subclassed_model_offers_its_intermediates_as_outputs():
    x, y = data(24)
    model = Subclassed()
    trainer = lp.Trainer(
        model, [lp.Term("mse", output="prediction"), lp.Term(size, activation=lp.output("hidden"), weight=0.1)]
    )
    trainer.compile("adam", metrics={"prediction": ["mae"]})
    history = trainer.fit(x, y, epochs=2, verbose=0).history
    assert {"mse", "size", "loss", "prediction_mae"} <= set(history)
    np.testing.assert_allclose(history["loss"], np.add(history["mse"], np.multiply(0.1, history["size"])), rtol=1e-6)


def test_callbacks_watch_terms(tmp_path):
    x, y = data(24)
    trainer = annealed(two_heads())
    trainer.compile(keras.optimizers.SGD(0.0))
    # Without mode=: that a term is to fall, callbacks know.
    kept = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.weights.h5", monitor="val_squared", save_best_only=True, save_weights_only=True
    )
    stop = keras.callbacks.EarlyStopping(monitor="squared", patience=1)
    history = trainer.fit(x, y, epochs=9, verbose=0, validation_data=(x, y), callbacks=[kept, stop]).history
    assert len(history["loss"]) == 2  # nothing improves with a rate of 0
    assert (tmp_path / "best.weights.h5").exists()
