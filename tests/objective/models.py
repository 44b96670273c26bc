"""Small models and functions of terms that the tests share."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from lossproof.objective import references as lp


def data(rows=24, features=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features)).astype("float32")
    y = (x @ rng.normal(size=(features, 1)) + 0.1 * rng.normal(size=(rows, 1))).astype("float32")
    return x, y


def two_heads(dropout=0.0, regularizer=None, seed=3):
    """x (4,) -> {"rating": (1,), "log_var": (1,)}, with layers "hidden" and "drop"."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((4,), name="x")
    h = keras.layers.Dense(6, activation="tanh", name="hidden", kernel_regularizer=regularizer)(x)
    h = keras.layers.Dropout(dropout, seed=5, name="drop")(h)
    heads = {name: keras.layers.Dense(1, name=name)(h) for name in ("rating", "log_var")}
    return keras.Model(x, heads)


def line(seed=3, **dense):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(1, name="out", **dense)])


def gaussian_nll(y_true, mean, log_var):
    return ops.mean(ops.exp(-log_var) * ops.square(mean - y_true) + log_var, axis=-1)


def size(activation):
    return ops.mean(ops.square(activation), axis=-1)


def squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def scalar_squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))


def nll_term(**kwargs):
    from lossproof.objective.term import Term

    bound = {"y_true": lp.target("rating"), "mean": lp.output("rating"), "log_var": lp.output("log_var")}
    return Term(gaussian_nll, **bound, **kwargs)


def numpy_weights(model):
    return [np.array(one) for one in model.get_weights()]


def same(a, b, tolerance=0.0):
    """Lists of arrays, equal up to a tolerance."""
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
