"""LP407 against cross-entropies computed in NumPy float64."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

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


def model(activation: str | None = "softmax") -> Any:
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


def tagger(steps: int) -> Any:
    keras.utils.set_random_seed(2)
    dense = layers.Dense(steps * CLASSES)
    return keras.Sequential([keras.Input((3,)), dense, layers.Reshape((steps, CLASSES)), layers.Softmax()])


def ids(steps: int) -> np.ndarray:
    return np.random.default_rng(4).integers(0, CLASSES, size=(SIZE, steps)).astype("int32")


def test_class_weights_of_tags_are_looked_up_by_position() -> None:
    """Nothing raises where the batch is as long as a sample; the (B,) weights then run along the steps."""
    y, table, net = ids(SIZE), np.array(list(WEIGHTS.values())), tagger(SIZE)
    (finding,) = found(net, "sparse_categorical_crossentropy", y, class_weight=WEIGHTS)
    p = np.asarray(net.predict(X, verbose=0), "float64")
    losses = -np.log(np.take_along_axis(p, y[..., None], axis=-1))[..., 0]
    positions = y.argmax(axis=-1)
    given = np.where(positions < CLASSES, table[np.minimum(positions, CLASSES - 1)], 1.0)
    assert finding.counterfactual.after == pytest.approx(np.mean(losses * table[y]), rel=1e-5)
    assert finding.counterfactual.before == pytest.approx(np.mean(losses * given[None, :]), rel=1e-5)
    assert finding.evidence["with another weight"] == int((table[y] != given[:, None]).sum())


def test_weights_that_cannot_be_applied_to_tags(caught: Caught) -> None:
    y, net = ids(5), tagger(5)
    loss = "sparse_categorical_crossentropy"
    (finding,) = caught("LP407", net, X, y, {"loss": loss}, batch_size=SIZE, class_weight=WEIGHTS)
    assert finding.evidence["explains_error"]
    p = np.asarray(net.predict(X, verbose=0), "float64")
    losses = -np.log(np.take_along_axis(p, y[..., None], axis=-1))[..., 0]
    assert finding.counterfactual.after == pytest.approx(
        np.mean(losses * np.array(list(WEIGHTS.values()))[y]), rel=1e-5
    )


def test_weights_looked_up_for_each_tag() -> None:
    y = ids(SIZE)
    weights = np.array(list(WEIGHTS.values()), dtype="float32")[y]
    report = found(tagger(SIZE), "sparse_categorical_crossentropy", y, sample_weight=weights)
    assert report == []


def test_equal_class_weights_of_tags() -> None:
    same = dict.fromkeys(range(CLASSES), 1.0)
    assert found(tagger(SIZE), "sparse_categorical_crossentropy", ids(SIZE), class_weight=same) == []


LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)
TWO_LABELS = {
    "-1 and 1": ("sigmoid", "binary_crossentropy", 2.0 * TAGS - 1.0),
    "-1 and 1, on logits": (None, LOGITS, 2.0 * TAGS - 1.0),
    "1 and 2": ("sigmoid", "binary_crossentropy", TAGS + 1.0),
    "0 and 255": (None, LOGITS, 255.0 * TAGS),
}


@pytest.mark.parametrize("name", TWO_LABELS)
def test_labels_that_are_not_0_and_1(name: str) -> None:
    activation, loss, y = TWO_LABELS[name]
    if BACKEND == "torch" and activation == "sigmoid":
        pytest.skip("PyTorch refuses such labels for probabilities")
    (finding,) = found(model(activation), loss, y)
    z = np.where(y > 0.5, 12.0, -12.0)
    expected = np.mean(np.logaddexp(0.0, z) - y * z)
    assert finding.counterfactual.before == pytest.approx(expected, rel=2e-2)
    assert finding.counterfactual.after == pytest.approx(np.log1p(np.exp(-12.0)), rel=0.2)


SIGNS = 2.0 * TAGS - 1.0
OTHER_LABELS = {
    "hinge": "hinge",
    "logistic": lambda t, p: keras.ops.softplus(-t * p),
    "squared": "mse",
    "critic": lambda t, p: -t * p,
    "other critic": lambda t, p: t * p,
    "exponential": lambda t, p: keras.ops.exp(-t * p),
}


@pytest.mark.parametrize("name", OTHER_LABELS)
def test_losses_that_are_for_other_labels(name: str) -> None:
    assert not found(model(None), OTHER_LABELS[name], SIGNS)


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


# Margin losses ------------------------------------------------------------------------------------------------------

SIDES = (X[:, :1] + 0.3 * rng.normal(size=(SIZE, 1)) > 0.0).astype("float32")


def scorer(activation: Any = None) -> Any:
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((3,)), layers.Dense(1, activation=activation)])


def hinge(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.maximum(1.0 - y_true * y_pred, 0.0), axis=-1)


MARGINS: dict[str, tuple[Any, Callable[[np.ndarray], np.ndarray]]] = {
    "hinge": (hinge, lambda m: np.maximum(1.0 - m, 0.0)),
    "squared": (lambda t, p: ops.square(ops.relu(1.0 - t * p)), lambda m: np.maximum(1.0 - m, 0.0) ** 2),
    "logistic": (lambda t, p: ops.mean(ops.softplus(-t * p), axis=-1), lambda m: np.log1p(np.exp(-m))),
    "scalar": (lambda t, p: ops.mean(ops.relu(1.0 - t * p)), lambda m: np.maximum(1.0 - m, 0.0)),
}


@pytest.mark.parametrize("name", MARGINS)
def test_a_margin_loss_wants_signs(caught: Caught, name: str) -> None:
    loss, of_margin = MARGINS[name]
    net = scorer()
    w, b = (np.asarray(v, "float64") for v in net.get_weights())
    score = X @ w + b
    (finding,) = caught("LP407", net, X, SIDES, {"loss": loss}, batch_size=SIZE)
    assert finding.evidence["samples without gradient"] == int((SIDES == 0).sum())
    assert finding.counterfactual.before == pytest.approx(of_margin(SIDES * score).mean(), rel=1e-5)
    assert finding.counterfactual.after == pytest.approx(of_margin((2.0 * SIDES - 1.0) * score).mean(), rel=1e-5)


def test_signs_raise_nothing_and_neither_does_keras_own(caught: Caught) -> None:
    assert caught("LP407", scorer(), X, 2.0 * SIDES - 1.0, {"loss": hinge}, batch_size=SIZE) == []
    for loss in ("hinge", "squared_hinge", "binary_crossentropy", "mse"):
        assert caught("LP407", scorer("sigmoid"), X, SIDES, {"loss": loss}, batch_size=SIZE) == []


OF_A_MASK = {
    "a loss that the model returns": lambda t, p: t * p,
    "a critic": lambda t, p: -ops.mean(t * p),
    "an error where the mask is 1": lambda t, p: t * ops.square(p),
    "a barrier where the mask is 1": lambda t, p: t * ops.softplus(-p),
    "positives alone, and a prior": lambda t, p: ops.relu(1.0 - t * p) + 0.1 * ops.square(p),
    "an exponential rate": lambda t, p: ops.exp(p) - t * p,
}


@pytest.mark.parametrize("name", OF_A_MASK)
def test_a_product_with_a_mask_is_no_margin(caught: Caught, name: str) -> None:
    assert caught("LP407", scorer(), X, SIDES, {"loss": OF_A_MASK[name]}, batch_size=SIZE) == []
