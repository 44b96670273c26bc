"""Strategies that weigh the values: Uncertainty, DynamicWeightAverage, RandomLossWeighting, GeometricMean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from lossproof.objective.weighting import (
    DWA,
    DynamicWeightAverage,
    GeometricMean,
    RandomLossWeighting,
    Uncertainty,
)

from .combining import names, numbers, prepared, value

VALUES = np.array([0.7, 2.5, 0.04])


def assert_the_total_is_the_weighted_sum(strategy: Any, values: np.ndarray, rest: float = 0.0) -> None:
    total = value(strategy.total(list(values)))
    assert total == pytest.approx(numbers(strategy.term_weights()) @ values + rest, rel=1e-6)


def test_uncertainty_is_the_negative_log_likelihood_of_gaussians() -> None:
    variances = np.array([0.5, 1.0, 4.0])
    strategy = prepared(Uncertainty(initial=dict(zip(names(3), variances, strict=True))), 3)
    # Minus the log of a Gaussian's density, without its constant: (y - f)^2 / (2 sigma^2) + log sigma.
    expected = (VALUES / (2 * variances) + np.log(np.sqrt(variances))).sum()
    assert value(strategy.total(list(VALUES))) == pytest.approx(expected, rel=1e-6)
    assert_the_total_is_the_weighted_sum(strategy, VALUES, rest=np.log(np.sqrt(variances)).sum())


def test_uncertainty_of_a_classification_has_twice_the_weight() -> None:
    strategy = prepared(Uncertainty(initial=2.0, kinds={"term1": "classification"}), 2)
    strategy.total([1.0, 1.0])
    np.testing.assert_allclose(numbers(strategy.term_weights()), [0.25, 0.5], rtol=1e-6)


def test_uncertainty_has_its_log_variances_and_nothing_else_to_train() -> None:
    strategy = prepared(Uncertainty(), 3)
    assert [tuple(one.shape) for one in strategy.trainable_variables] == [(3,)]


@pytest.mark.parametrize("initial", [0.0, -0.5, float("nan"), float("inf"), {"term0": -1.0}])
def test_a_variance_that_is_not_positive(initial: Any) -> None:
    with pytest.raises(ValueError, match=r"Uncertainty\(initial=\.\.\.\) takes a (finite )?number"):
        Uncertainty(initial=initial)


def test_a_kind_that_is_none() -> None:
    with pytest.raises(ValueError, match="'regression' or 'classification', and was given 'ranking'"):
        Uncertainty(kinds={"term0": "ranking"})


@pytest.mark.parametrize("arguments", [{"initial": {"term9": 1.0}}, {"kinds": {"term9": "regression"}}])
def test_uncertainty_of_a_term_that_is_not_there(arguments: Any) -> None:
    with pytest.raises(
        ValueError, match=r"'term9', which is no term of the objective\. Its terms are 'term0', 'term1'"
    ):
        Uncertainty(**arguments).prepare(names(2))


def paper_of_dwa(epochs: list[np.ndarray], temperature: float) -> list[np.ndarray]:
    """The weights in each epoch, after equation 7; `epochs` holds values (steps, K)."""
    weights = []
    for t in range(len(epochs)):
        rates = epochs[t - 1].mean(axis=0) / epochs[t - 2].mean(axis=0) if t > 1 else np.ones(epochs[0].shape[1])
        exponents = np.exp(rates / temperature)
        weights.append(len(rates) * exponents / exponents.sum())
    return weights


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("window", [None, 3])
def test_dwa_is_the_paper_s_formula_over_epochs(temperature: float, window: int | None) -> None:
    rng = np.random.default_rng(0)
    epochs = [rng.uniform(0.1, 3, size=(3, 2)) for _ in range(5)]
    strategy = prepared(DynamicWeightAverage(temperature=temperature, window=window), 2)
    for values, expected in zip(epochs, paper_of_dwa(epochs, temperature), strict=True):
        if window is None:
            strategy.epoch_start.reset_state()  # as `fit` does when an epoch begins
        for row in values:
            assert_the_total_is_the_weighted_sum(strategy, row)
            np.testing.assert_allclose(numbers(strategy.term_weights()), expected, rtol=1e-5)


def test_dwa_of_evaluation_moves_nothing() -> None:
    strategy = prepared(DWA(), 2)
    for values in ([1.0, 4.0], [1.0, 2.0], [1.0, 1.0]):
        strategy.epoch_start.reset_state()
        strategy.total(values)
    before = [ops.convert_to_numpy(one).copy() for one in strategy.variables]
    strategy.epoch_start.reset_state()  # as `evaluate` does
    weights = numbers(strategy.term_weights())
    assert value(strategy.total([3.0, 5.0], training=False)) == pytest.approx(weights @ [3.0, 5.0], rel=1e-6)
    assert weights[0] > weights[1]
    for variable, kept in zip(strategy.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), kept)


def test_dwa_is_the_short_name() -> None:
    assert DWA is DynamicWeightAverage


@pytest.mark.parametrize(
    "arguments", [{"temperature": 0.0}, {"temperature": float("nan")}, {"window": 0}, {"window": 2.5}]
)
def test_dwa_out_of_range(arguments: Any) -> None:
    with pytest.raises(ValueError, match=r"DynamicWeightAverage\((temperature|window)=\.\.\.\) takes "):
        DWA(**arguments)


def test_random_weights_are_the_softmax_of_normal_numbers() -> None:
    strategy = prepared(RandomLossWeighting(seed=3), 4)
    drawn = []
    for _ in range(300):
        assert_the_total_is_the_weighted_sum(strategy, np.array([1.0, 2.0, 3.0, 4.0]))
        drawn.append(numbers(strategy.term_weights()))
    weights = np.array(drawn)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    # log w_i - log w_j = z_i - z_j has mean 0 and variance 2.
    logs = np.log(weights)
    differences = (logs[:, :1] - logs[:, 1:]).ravel()
    assert abs(differences.mean()) < 4 * np.sqrt(2 / 300)
    assert differences.var() == pytest.approx(2, rel=0.35)
    assert value(strategy.total([1.0, 2.0, 3.0, 4.0], training=False)) == pytest.approx(2.5)


def test_random_weights_of_one_seed_repeat() -> None:
    first, second = prepared(RandomLossWeighting(seed=3), 2), prepared(RandomLossWeighting(seed=3), 2)
    for _ in range(5):
        assert value(first.total([1.0, 2.0])) == value(second.total([1.0, 2.0]))


@pytest.mark.parametrize("values", [VALUES, np.array([1e-6, 1e6, 3.0]), np.array([5.0, 5.0])])
def test_the_geometric_mean(values: np.ndarray) -> None:
    strategy = prepared(GeometricMean(), len(values))
    mean = values.prod() ** (1 / len(values))
    assert value(strategy.total(list(values))) == pytest.approx(mean, rel=1e-5)
    assert_the_total_is_the_weighted_sum(strategy, values)
    # The gradient with respect to the values, numerically.
    for k, weight in enumerate(numbers(strategy.term_weights())):
        step = 1e-6 * values[k]
        moved = values + step * np.eye(len(values))[k]
        assert weight == pytest.approx((moved.prod() ** (1 / len(values)) - mean) / step, rel=1e-4)


@pytest.mark.parametrize("values", [[1.0, -2.0], [0.0, 1.0]])
def test_the_geometric_mean_of_what_has_none_is_nan_and_moves_nothing(values: list[float]) -> None:
    strategy = prepared(GeometricMean(), 2)
    assert np.isnan(value(strategy.total(values)))
    np.testing.assert_array_equal(numbers(strategy.term_weights()), [0.0, 0.0])
