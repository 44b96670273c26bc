"""What every strategy keeps to."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from lossproof.objective import weighting

from . import gradients as reference
from .combining import combined, names, numbers, value

STRATEGIES = [getattr(weighting, name) for name in weighting.__all__ if name not in ("DWA", "Weighting")]
GRADIENTS = [cls for cls in STRATEGIES if cls.needs_gradients]


@pytest.mark.parametrize("cls", STRATEGIES)
def test_one_term_is_refused(cls: Any) -> None:
    with pytest.raises(ValueError, match=f"{cls.__name__} weighs several terms .* only 'mse'. Leave out weighting="):
        cls().prepare(["mse"])


@pytest.mark.parametrize("cls", STRATEGIES)
def test_preparing_again_is_harmless_and_other_terms_are_refused(cls: Any) -> None:
    strategy = cls()
    strategy.prepare(["a", "b"])
    variables = list(strategy.variables)
    strategy.prepare(["a", "b"])
    assert all(one is other for one, other in zip(variables, strategy.variables, strict=True))
    with pytest.raises(ValueError, match="already weighs the terms 'a', 'b'; it cannot weigh 'b', 'c'"):
        strategy.prepare(["b", "c"])


@pytest.mark.parametrize("cls", STRATEGIES)
def test_it_comes_back_from_its_config(cls: Any) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(cls(name="mine")))
    assert type(again) is cls
    assert again.get_config() == cls(name="mine").get_config()


@pytest.mark.parametrize("cls", STRATEGIES)
def test_its_numbers_are_float32_and_its_total_is_a_scalar(cls: Any) -> None:
    keras.config.set_floatx("float64")
    try:
        strategy = cls()
        strategy.prepare(names(3))
        total = strategy.total([ops.convert_to_tensor(v, "float64") for v in (1.0, 2.0, 3.0)])
    finally:
        keras.config.set_floatx("float32")
    assert tuple(total.shape) == ()
    assert keras.backend.standardize_dtype(total.dtype) == "float32"
    for variable in strategy.variables:
        assert variable.dtype == "float32" or "seed_generator" in variable.path


@pytest.mark.parametrize("cls", GRADIENTS)
def test_the_logged_coefficients_sum_the_gradients_to_the_result(cls: Any) -> None:
    rows = reference.FAMILIES["conflicting 3"]
    strategy = cls()
    strategy.prepare(names(3))
    strategy.total([1.0, 1.0, 1.0])
    found = combined(strategy, rows)
    coefficients = numbers(strategy.gradient_weights() or strategy.term_weights())
    np.testing.assert_allclose(coefficients @ rows, found, atol=1e-5)


@pytest.mark.parametrize("cls", [cls for cls in GRADIENTS if not cls.moving])
def test_the_loss_of_a_gradient_strategy_is_the_plain_sum(cls: Any) -> None:
    strategy = cls()
    strategy.prepare(names(3))
    assert value(strategy.total([1.0, 2.0, 3.5])) == 6.5
    assert strategy.term_weights() == {}


@pytest.mark.parametrize("cls", [cls for cls in GRADIENTS if not cls.moving])
def test_weights_that_are_not_shared_get_the_sum_of_their_gradients(cls: Any) -> None:
    rows = reference.FAMILIES["conflicting 3"].astype("float32")
    trunk, heads = rows[:, :5], rows[:, 5:]
    strategy = cls(shared="trunk")
    strategy.prepare(names(3))
    given = [
        [ops.convert_to_tensor(a), ops.convert_to_tensor(b) if k else None]
        for k, (a, b) in enumerate(zip(trunk, heads, strict=True))
    ]
    found = strategy.combine(given, [1.0] * 3, [Variable("m/trunk/kernel"), Variable("m/trunk_2/kernel")])
    np.testing.assert_allclose(ops.convert_to_numpy(found[1]), heads[1:].sum(axis=0), rtol=1e-5)
    alone = cls()
    alone.prepare(names(3))
    expected = alone.combine([[ops.convert_to_tensor(a)] for a in trunk], [1.0] * 3)
    if cls is not weighting.PCGrad:  # whose orders are drawn
        np.testing.assert_allclose(ops.convert_to_numpy(found[0]), ops.convert_to_numpy(expected[0]), rtol=1e-4)


@pytest.mark.parametrize("cls", GRADIENTS)
def test_a_gradient_of_none_is_a_gradient_of_0(cls: Any) -> None:
    rng = np.random.default_rng(2)
    shape = (2, 3)
    full = [[rng.normal(size=shape).astype("float32") for _ in range(3)] for _ in range(2)]
    holes = [[full[0][0], None, None], [full[1][0], full[1][1], None]]
    zeros = [[np.zeros(shape, "float32") if one is None else one for one in row] for row in holes]
    found, expected = cls(), cls()
    results = []
    for strategy, rows in ((found, holes), (expected, zeros)):
        strategy.prepare(names(2))
        results.append(
            strategy.combine(
                [[None if g is None else ops.convert_to_tensor(g) for g in row] for row in rows], [1.0, 2.0]
            )
        )
    assert results[0][2] is None
    for one, other in zip(results[0][:2], results[1][:2], strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one), ops.convert_to_numpy(other), rtol=1e-5)


@pytest.mark.parametrize("cls", GRADIENTS)
def test_a_shared_layer_that_is_not_there(cls: Any) -> None:
    strategy = cls(shared=["trunk", "hed"])
    strategy.prepare(names(2))
    variables = [Variable("m/trunk/kernel"), Variable("m/head/kernel")]
    rows = [[ops.ones((2,)), ops.ones((2,))]] * 2
    with pytest.raises(ValueError, match=r"names no layer with trainable weights.*'trunk'.* Did you mean 'head'\?"):
        strategy.combine(rows, [1.0, 1.0], variables)


@pytest.mark.parametrize("cls", GRADIENTS)
def test_a_gradient_that_is_not_finite_stays_visible(cls: Any) -> None:
    rows = reference.FAMILIES["random 3"].copy()
    rows[1, 0] = np.nan
    assert not np.isfinite(combined(cls(), rows)).all()


class Variable:
    """As much of a variable as is asked for."""

    def __init__(self, path: str) -> None:
        self.path = path
