"""Saved and loaded, a Trainer goes on as if it had not been."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import lossproof as lp

from .models import data, gaussian_nll, line, nll_term, numpy_weights, same, size, squared, two_heads


def scheduled(seed=3):
    model = two_heads(seed=seed, regularizer="l2")
    trainer = lp.Trainer(
        model,
        lp.Objective(
            [
                nll_term(weight=keras.optimizers.schedules.ExponentialDecay(1.0, 4, 0.7)),
                lp.Term(
                    size, activation=lp.layer(model.get_layer("hidden")), weight=lp.schedules.Cyclical(0, 1, period=6)
                ),
                lp.Term("mse", output="rating", weight=0.5),
                lp.Term(keras.losses.Huber(0.7), output="rating", weight=keras.Variable(0.3, trainable=False)),
            ]
        ),
    )
    trainer.compile(keras.optimizers.Adam(0.01), metrics={"rating": ["mae"]})
    return trainer


def test_training_goes_on_exactly(tmp_path):
    x, y = data(40)
    whole, first = scheduled(), scheduled()
    whole.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    first.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
    first.save(tmp_path / "trainer.keras")
    second = keras.saving.load_model(tmp_path / "trainer.keras")
    assert isinstance(second, lp.Trainer)
    assert int(ops.convert_to_numpy(second.steps_made())) == 5
    history = second.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0).history
    same(numpy_weights(whole.model), numpy_weights(second.model), tolerance=1e-7)
    assert history["size_weight"][0] == pytest.approx((9 % 6) / 6 / 0.5, rel=1e-6)
    assert "rating_mae" in history


def test_learned_weights_are_saved(tmp_path):
    x, y = data(40)

    def make():
        terms = [nll_term(), lp.Term("mse", output="rating")]
        trainer = lp.Trainer(two_heads(), lp.Objective(terms, weighting=lp.weighting.Uncertainty()))
        trainer.compile(keras.optimizers.Adam(0.05))
        return trainer

    whole, first = make(), make()
    whole.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    first.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
    first.save(tmp_path / "trainer.keras")
    second = keras.saving.load_model(tmp_path / "trainer.keras")
    same(numpy_weights(first), numpy_weights(second))
    second.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
    same(numpy_weights(whole), numpy_weights(second), tolerance=1e-6)


def test_weights_alone(tmp_path):
    x, y = data(16)
    first, second = scheduled(), scheduled(seed=9)
    first.fit(x, y, verbose=0)
    first.save_weights(tmp_path / "t.weights.h5")
    second.optimizer.build(second.trainable_variables)
    second.load_weights(tmp_path / "t.weights.h5")
    same(numpy_weights(first.model), numpy_weights(second.model))
    assert int(ops.convert_to_numpy(second.steps_made())) == 1


def test_helpers_variables_and_constants_are_saved(tmp_path):
    x, y = data(16)
    teacher = line(seed=9)
    trainer = lp.Trainer(
        line(), [lp.Term(imitate, teacher=teacher, x=lp.input(), scale=np.array([2.0, 3.0], "float32"), power=2)]
    )
    trainer.compile("sgd")
    trainer.fit(x, y, verbose=0)
    trainer.save(tmp_path / "t.keras")
    loaded = keras.saving.load_model(tmp_path / "t.keras")
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(trainer.evaluate(x, y, verbose=0))
    same(numpy_weights(teacher), numpy_weights(loaded.helpers[0]))
    assert len(loaded.optimizer.variables) == len(trainer.optimizer.variables)


def imitate(y_pred, x, teacher, scale, power):
    return ops.mean(ops.power(y_pred - teacher(x), power) * ops.convert_to_tensor(scale), axis=-1)


class Subclassed(keras.Model):
    """A model whose config has to be found by its class."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = keras.layers.Dense(units)
        self.head = keras.layers.Dense(1)

    def call(self, x):
        return self.head(self.hidden(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_subclassed_models(tmp_path):
    x, y = data(16)
    trainer = lp.Trainer(Subclassed(5), [lp.Term("mse")])
    trainer.compile("adam")
    trainer.fit(x, y, verbose=0)
    trainer.save(tmp_path / "t.keras")
    loaded = keras.saving.load_model(tmp_path / "t.keras", custom_objects={"Subclassed": Subclassed})
    assert loaded.model.units == 5
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), trainer.predict(x, verbose=0))


def test_checkpoints_of_the_whole(tmp_path):
    x, y = data(16)
    trainer = scheduled()
    kept = keras.callbacks.ModelCheckpoint(tmp_path / "t.keras", monitor="mse", save_best_only=True)
    trainer.fit(x, y, epochs=2, verbose=0, callbacks=[kept])
    loaded = keras.saving.load_model(tmp_path / "t.keras")
    same(numpy_weights(trainer.model), numpy_weights(loaded.model))


def test_what_cannot_be_saved_says_so(tmp_path):
    x, y = data(16)
    trainer = lp.Trainer(
        line(), [lp.Term(lambda y_true, y_pred: squared(y_true, y_pred), name="sq", serializable=False)]
    )
    trainer.compile("sgd")
    trainer.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match=r"Term 'sq' cannot be saved: its function is a lambda.*trainer.save_weights"):
        trainer.save(tmp_path / "t.keras")
    trainer.save_weights(tmp_path / "t.weights.h5")


ELSEWHERE = """
import sys
if "ours first" in sys.argv:
    import lossproof
    assert "keras" not in sys.modules
import keras, numpy as np
import lossproof as lp
from keras import ops

def gaussian_nll(y_true, mean, log_var):
    return ops.mean(ops.exp(-log_var) * ops.square(mean - y_true) + log_var, axis=-1)

known = {"gaussian_nll": gaussian_nll} if "known" in sys.argv else None
trainer = keras.saving.load_model(sys.argv[1], custom_objects=known)
x, y = np.load(sys.argv[2]).values()
print(repr(float(trainer.evaluate(x, y, verbose=0, return_dict=True)["loss"])))
"""


@pytest.mark.slow
def test_in_another_process(tmp_path):
    x, y = data(16)
    trainer = lp.Trainer(two_heads(), [nll_term()])
    trainer.compile("sgd")
    trainer.fit(x, y, verbose=0)
    trainer.save(tmp_path / "t.keras")
    np.savez(tmp_path / "d.npz", x=x, y=y)
    script = tmp_path / "load.py"
    script.write_text(ELSEWHERE)
    for known in (["known"], ["known", "ours first"], []):
        command = [sys.executable, str(script), str(tmp_path / "t.keras"), str(tmp_path / "d.npz"), *known]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if known:
            assert done.returncode == 0, done.stderr
            expected = trainer.evaluate(x, y, verbose=0, return_dict=True)["loss"]
            assert float(done.stdout.split()[-1]) == pytest.approx(float(expected), rel=1e-5)
        else:
            assert "The function 'gaussian_nll' of term 'gaussian_nll' is not known here" in done.stderr
            assert 'custom_objects={"gaussian_nll": gaussian_nll}' in done.stderr


def test_the_package_imports_without_keras():
    code = "import sys, lossproof; assert 'Term' in dir(lossproof); assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


IMPORTED = """
import sys
import lossproof
ours = sys.meta_path[0]
assert type(ours).__module__.startswith("lossproof") and "keras" not in sys.modules
import keras
assert ours not in sys.meta_path
assert keras.saving.get_registered_object("lossproof>Trainer") is lossproof.Trainer
"""


def test_importing_keras_later_registers_our_classes_and_leaves_nothing_behind():
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_losses_keep_the_arguments_that_their_config_leaves_out():
    term = lp.Term(keras.losses.Huber(0.7))
    loaded = lp.Term.from_config(term.get_config())
    pair = np.zeros((4, 1), "float32"), np.full((4, 1), 2.0, "float32")
    expected = 0.7 * 2 - 0.7**2 / 2
    for one in (term, loaded):
        assert float(ops.convert_to_numpy(one.function.function(*pair))) == pytest.approx(expected, rel=1e-6)


def test_an_objective_by_itself():
    objective = lp.Objective([lp.Term(gaussian_nll, mean=lp.output("m"), log_var=lp.layer("v", call=1)), "mse"])
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(objective))
    assert loaded.names == ("gaussian_nll", "mse")
    assert loaded.terms[0].bindings == objective.terms[0].bindings
