"""Forward-mode autodiff of the adapters, against calculus; and conversions to NumPy while a gradient is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from lossproof.lab.backends import running_backend

POINT = np.array([0.5, -1.2, 2.0], dtype="float32")
ALONG = np.array([1.0, 0.5, -2.0], dtype="float32")


def derivative_of(function: Any, at: np.ndarray = POINT) -> np.ndarray | None:
    backend = running_backend()

    def run(inputs: list[Any], derivative: Any) -> Any:
        return derivative(function(inputs[0]))

    return backend.forward_mode(run, [backend.tensor(at)], [backend.tensor(ALONG)])


SMOOTH = {
    "square": (ops.square, lambda x: 2.0 * x),
    "sine": (ops.sin, np.cos),
    "exponential of a sine": (lambda x: ops.exp(ops.sin(x)), lambda x: np.cos(x) * np.exp(np.sin(x))),
    "logistic": (ops.sigmoid, lambda x: 1.0 / (1.0 + np.exp(-x)) / (1.0 + np.exp(x))),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_a_derivative_is_that_of_calculus(name: str) -> None:
    function, slope = SMOOTH[name]
    found = derivative_of(function)
    assert found is not None
    np.testing.assert_allclose(found, slope(POINT.astype("float64")) * ALONG, rtol=1e-5)


def test_an_intermediate_value_has_its_own() -> None:
    backend = running_backend()

    def run(inputs: list[Any], derivative: Any) -> Any:
        inner = ops.square(inputs[0])
        outer = ops.sum(inner)
        return derivative(inner), derivative(outer)

    inner, outer = backend.forward_mode(run, [backend.tensor(POINT)], [backend.tensor(ALONG)])
    np.testing.assert_allclose(inner, 2.0 * POINT * ALONG, rtol=1e-6)
    np.testing.assert_allclose(outer, np.sum(2.0 * POINT * ALONG), rtol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        ops.sign,
        ops.round,
        ops.stop_gradient,
        lambda x: ops.cast(x > 0.0, "float32"),
        lambda x: ops.convert_to_tensor(POINT),
    ],
    ids=["sign", "round", "stop", "cast", "constant"],
)
def test_what_is_not_connected_has_none_or_zero(function: Any) -> None:
    found = derivative_of(function)
    assert found is None or not found.any()


def test_a_root_at_zero_shows() -> None:
    found = derivative_of(lambda x: ops.sqrt(ops.square(x)), np.array([0.0, 1.0, -1.0], dtype="float32"))
    assert found is not None
    np.testing.assert_array_equal(np.isfinite(found), [False, True, True])


def through_numpy(x: Any) -> Any:
    return ops.sum(ops.convert_to_tensor(np.square(np.asarray(x))) * x)


def test_lenient_conversions_give_the_values_and_cut_the_gradient() -> None:
    backend = running_backend()
    with backend.lenient_conversions():
        value, (gradient,) = backend.gradient(through_numpy, [backend.tensor(POINT)])
    assert float(backend.numpy(value)) == pytest.approx(float(np.sum(POINT.astype("float64") ** 3)), rel=1e-6)
    # d/dx of x^2 held fixed times x, where the whole derivative would be 3 x^2.
    np.testing.assert_allclose(backend.numpy(gradient), POINT**2, rtol=1e-6)


@pytest.mark.backend("jax", "torch")
def test_conversions_are_refused_again_afterwards() -> None:
    backend = running_backend()
    with backend.lenient_conversions():
        backend.gradient(through_numpy, [backend.tensor(POINT)])
    with pytest.raises((RuntimeError, TypeError)):
        backend.gradient(through_numpy, [backend.tensor(POINT)])
