"""LP407 against cross-entropies computed in NumPy float64."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import lossproof
from lossproof.capture.watch import Watch
from lossproof.pipeline import judge

from .conftest import Caught

SIZE, CLASSES = 32, 4
rng = np.random.default_rng(13)
X = rng.normal(size=(SIZE, 3)).astype("float32")
NUMBERS = np.arange(SIZE) % CLASSES
HOT = np.eye(CLASSES, dtype="float32")[NUMBERS]
TAGS = (rng.random((SIZE, CLASSES)) < 0.4).astype("float32")
BACKEND = keras.backend.backend()
WEIGHTS = {0: 1.0, 1: 2.0, 2: 5.0, 3: 10.0}


def model(activation: str = "softmax") -> Any:
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((3,)), layers.Dense(CLASSES, activation=activation)])


def crossentropy(net: Any) -> float:
    w, b = (np.asarray(v, "float64") for v in net.get_weights())
    z = X @ w + b
    return float(np.mean(np.log(np.exp(z).sum(axis=-1)) - z[np.arange(SIZE), NUMBERS]))


REFUSED = {
    "numbers": ("categorical_crossentropy", NUMBERS, "one-hot rows"),
    "numbers in a column": ("categorical_crossentropy", NUMBERS[:, None], "one-hot rows"),
    "an object": (keras.losses.CategoricalCrossentropy(label_smoothing=0.0), NUMBERS, "one-hot rows"),
    "one-hot rows": ("sparse_categorical_crossentropy", HOT, "class numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_other_form_is_refused(caught: Caught, name: str) -> None:
    loss, y, assumed = REFUSED[name]
    net = model()
    expected = crossentropy(net)
    (finding,) = caught("LP407", net, X, y, {"loss": loss}, batch_size=SIZE)
    assert finding.evidence["explains_error"]
    assert finding.evidence["assumed"] == assumed
    assert finding.counterfactual.after == pytest.approx(expected, rel=1e-5)


def test_numbers_counted_from_one(caught: Caught) -> None:
    net = model()
    expected = crossentropy(net)
    (finding,) = caught("LP407", net, X, NUMBERS + 1, {"loss": "sparse_categorical_crossentropy"}, batch_size=SIZE)
    assert finding.fix.code == "y = y - 1"
    assert finding.counterfactual.after == pytest.approx(expected, rel=1e-4)
    assert finding.evidence.get("explains_error", False) == (BACKEND != "jax")


def test_the_error_of_a_compiled_step_is_explained_as_well() -> None:
    net = model()
    expected = crossentropy(net)
    with Watch(shorten=True) as watch, suppress(Exception):
        net.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
        net.fit(X, NUMBERS + 1, batch_size=SIZE, verbose=0)
    report = judge(watch.run, select=["LP407"])
    assert not report.crashed, report.crashed
    (finding,) = report.findings
    assert finding.fix.code == "y = y - 1"
    assert finding.counterfactual.after == pytest.approx(expected, rel=1e-4)


def found(net: Any, loss: Any, y: Any, **kwargs: Any) -> list[Any]:
    net.compile(optimizer="sgd", loss=loss)
    report = lossproof.check(net, X, y, select=["LP407"], **kwargs)
    assert not report.crashed, report.crashed
    return list(report.findings)


def test_class_weights_see_the_first_label() -> None:
    (finding,) = found(model("sigmoid"), "binary_crossentropy", TAGS, class_weight=WEIGHTS)
    table = np.array(list(WEIGHTS.values()))
    labels = TAGS.sum(axis=-1)
    meant = np.where(labels > 0, (TAGS * table).sum(axis=-1) / np.maximum(labels, 1.0), 1.0)
    assert finding.evidence["with another weight"] == int((meant != table[TAGS.argmax(axis=-1)]).sum())


HEALTHY = {
    "sparse": ("sparse_categorical_crossentropy", NUMBERS, {}),
    "sparse, in a column": ("sparse_categorical_crossentropy", NUMBERS[:, None], {}),
    "one-hot": ("categorical_crossentropy", HOT, {}),
    "one class is missing": ("sparse_categorical_crossentropy", NUMBERS % 3, {}),
    "the first class is missing": ("sparse_categorical_crossentropy", np.maximum(NUMBERS, 1), {}),
    "soft": ("categorical_crossentropy", 0.9 * HOT + 0.025, {}),
    "tags": ("binary_crossentropy", TAGS, {}),
    "weighted classes": ("categorical_crossentropy", HOT, {"class_weight": WEIGHTS}),
    "weighted numbers": ("sparse_categorical_crossentropy", NUMBERS, {"class_weight": WEIGHTS}),
    "equal weights": (
        "binary_crossentropy",
        np.maximum(TAGS, np.eye(4)[0]),
        {"class_weight": dict.fromkeys(range(4), 1.0)},
    ),
    "regression": ("mse", rng.normal(size=(SIZE, CLASSES)), {}),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_fits_is_silent(name: str) -> None:
    loss, y, kwargs = HEALTHY[name]
    assert not found(model(), loss, y, **kwargs)
