"""Bounds of an output, as measured, against the activations whose bounds are known."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lossproof.capture.direct import captured_model
from lossproof.lab.bounds import bounds_of, confident
from lossproof.lab.lab import Lab

X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")


def lab_of(last: list[Any], y: np.ndarray, loss: str = "mse") -> Lab:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), *last])
    model.compile(optimizer="sgd", loss=loss)
    run = captured_model(model, {"x": X, "y": y})
    return Lab(run.captures[0], run)


BOUNDS: dict[str, tuple[Any, list[float]]] = {
    "sigmoid": (lambda: [layers.Dense(3, activation="sigmoid")], [0.0, 1.0]),
    "softmax": (lambda: [layers.Dense(3, activation="softmax")], [0.0, 1.0]),
    "tanh": (lambda: [layers.Dense(3, activation="tanh")], [-1.0, 1.0]),
    "hard sigmoid": (lambda: [layers.Dense(3, activation="hard_sigmoid")], [0.0, 1.0]),
    "scaled": (lambda: [layers.Dense(3, activation="sigmoid"), layers.Rescaling(10.0, -5.0)], [-5.0, 5.0]),
    "an activation of its own": (lambda: [layers.Dense(3), layers.Activation("sigmoid")], [0.0, 1.0]),
    "relu, open above": (lambda: [layers.Dense(3, activation="relu")], [0.0]),
    "relu6": (lambda: [layers.Dense(3, activation="relu6")], [0.0, 6.0]),
    "linear": (lambda: [layers.Dense(3)], []),
    "softplus, never 0": (lambda: [layers.Dense(3, activation="softplus")], []),
    "exponential, never 0": (lambda: [layers.Dense(3, activation="exponential")], []),
    "a direction": (lambda: [layers.Dense(3), layers.UnitNormalization()], []),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds(name: str) -> None:
    last, expected = BOUNDS[name]
    lab = lab_of(last(), np.zeros((24, 3), dtype="float32"))
    (found,) = bounds_of(lab, lab.losses[0])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_weights_stay_as_they_are() -> None:
    lab = lab_of([layers.Dense(3, activation="sigmoid")], np.zeros((24, 3), dtype="float32"))
    before = lab.capture.model.get_weights()
    bounds_of(lab, lab.losses[0])
    for one, other in zip(before, lab.capture.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_half_of_the_predictions_move_onto_targets_that_are_bounds() -> None:
    y = np.random.default_rng(1).choice([0.0, 0.3, 1.0], size=(24, 3)).astype("float32")
    lab = lab_of([layers.Dense(3, activation="sigmoid")], y)
    subject = lab.losses[0]
    sure = confident(lab, subject, bounds_of(lab, subject))
    assert sure is not None
    (moved,), (at,), (nearly,) = sure.moved, sure.leaves, sure.nearly
    captured = lab.number(subject.y_true)
    np.testing.assert_array_equal(at[moved], captured[moved])
    np.testing.assert_array_equal(at[~moved], lab.number(subject.y_pred)[~moved])
    assert not moved[np.isclose(captured, 0.3)].any()
    eligible = ~np.isclose(captured, 0.3)
    assert 0.25 < moved[eligible].mean() < 0.75
    distance = np.abs(nearly - at)[moved]
    assert (distance > 0).all()
    assert (distance <= 1e-3).all()
    assert ((nearly >= 0) & (nearly <= 1)).all()


def test_class_numbers_become_rows_of_0_and_1() -> None:
    classes = np.arange(24) % 3
    last = [layers.Dense(3, activation="softmax")]
    lab = lab_of(last, classes.astype("int32"), "sparse_categorical_crossentropy")
    subject = lab.losses[0]
    sure = confident(lab, subject, [np.array([0.0, 1.0])], share=1.0)
    assert sure is not None
    shown = lab.number(subject.y_true).reshape(-1)
    np.testing.assert_array_equal(sure.leaves[0], np.eye(3)[shown.astype(int)])
