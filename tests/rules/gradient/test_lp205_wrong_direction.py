"""LP205: scores without their minus, divergences off their domain and exchanged arguments; never a minimum by design."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses, ops

import lossproof
from lossproof.findings.finding import Finding

from .small_models import BINARY, CLASSES, COUNTS, ONE_HOT, REAL, X, compiled, computing, network, two_heads


def squashed(values: np.ndarray) -> np.ndarray:
    return (1.0 / (1.0 + np.exp(-values))).astype("float32")


def shared_out(values: np.ndarray) -> np.ndarray:
    return (np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True)).astype("float32")


GUESS = 0.5 * REAL[::-1].copy()
CURVES, CHANCES, SHARES = squashed(REAL), squashed(GUESS), shared_out(GUESS)
PAIRS = BINARY[:, :1]


def of_loss(loss: Any, y_true: np.ndarray, y_pred: np.ndarray) -> list[Finding]:
    report = lossproof.check_loss(loss, y_true, y_pred, select=["LP205"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def of_model(model: keras.Model, y: Any) -> list[Finding]:
    report = lossproof.check(model, X, y, select=["LP205"])
    assert not report.crashed, report.crashed
    return list(report.findings)


def r_squared(t: Any, p: Any) -> Any:
    return 1.0 - ops.sum(ops.square(t - p)) / ops.sum(ops.square(t - ops.mean(t)))


def overlap(t: Any, p: Any) -> Any:
    return (2.0 * ops.sum(t * p) + 1.0) / (ops.sum(t) + ops.sum(p) + 1.0)


def correlation(t: Any, p: Any) -> Any:
    t, p = t - ops.mean(t, axis=0), p - ops.mean(p, axis=0)
    return ops.mean(ops.sum(t * p, axis=0) / (ops.sqrt(ops.sum(t * t, axis=0) * ops.sum(p * p, axis=0)) + 1e-7))


def gaussian_likelihood(t: Any, p: Any) -> Any:
    return -0.5 * ops.exp(-p[:, 1:2]) * ops.square(t - p[:, :1]) - 0.5 * p[:, 1:2]


def of_pairs(t: Any, p: Any) -> Any:
    """Contrastive, with 1 for pairs that are alike: small distances for them are right."""
    return t * ops.square(p) + (1.0 - t) * ops.square(ops.relu(1.0 - p))


def exchanged(t: Any, p: Any) -> Any:
    t = ops.clip(t, 1e-7, 1.0 - 1e-7)
    return -(p * ops.log(t) + (1.0 - p) * ops.log(1.0 - t))


def sure(t: Any) -> Any:
    """How far a target is from undecided, as a weight."""
    return 2.0 * ops.abs(t - 0.5)


GUILTY: dict[str, tuple[Callable[..., Any], np.ndarray, np.ndarray, str]] = {
    "R2": (r_squared, REAL, GUESS, "negated"),
    "minus squared": (lambda t, p: -ops.mean(ops.square(t - p), axis=-1), REAL, GUESS, "negated"),
    "correlation": (correlation, REAL, GUESS, "negated"),
    "cosine": (lambda t, p: -losses.cosine_similarity(t, p), REAL, GUESS, "negated"),
    "binary likelihood": (lambda t, p: -losses.binary_crossentropy(t, p), PAIRS, CHANCES[:, :1], "negated"),
    "likelihood of ids": (
        lambda t, p: -losses.sparse_categorical_crossentropy(t, p),
        CLASSES,
        SHARES,
        "negated",
    ),
    "binary likelihood on logits": (
        lambda t, p: -losses.binary_crossentropy(t, p, from_logits=True),
        BINARY,
        GUESS,
        "negated",
    ),
    "likelihood of ids on logits": (
        lambda t, p: -losses.sparse_categorical_crossentropy(t, p, from_logits=True),
        CLASSES,
        GUESS,
        "negated",
    ),
    "hinge": (lambda t, p: -losses.hinge(t, p), 2.0 * BINARY - 1.0, GUESS, "negated"),
    "squared hinge": (lambda t, p: -losses.squared_hinge(t, p), 2.0 * BINARY - 1.0, GUESS, "negated"),
    "hinge of classes": (lambda t, p: -losses.categorical_hinge(t, p), ONE_HOT, GUESS, "negated"),
    "rates": (lambda t, p: -losses.poisson(t, p), COUNTS, 1.0 + CHANCES, "negated"),
    "focal": (lambda t, p: -losses.binary_focal_crossentropy(t, p), BINARY, CHANCES, "negated"),
    "focal of classes": (lambda t, p: -losses.categorical_focal_crossentropy(t, p), ONE_HOT, SHARES, "negated"),
    "weighted likelihood": (
        lambda t, p: -(1.0 + 4.0 * t[:, 0]) * losses.categorical_crossentropy(t, p),
        ONE_HOT,
        SHARES,
        "negated",
    ),
    "likelihood of parameters": (gaussian_likelihood, REAL[:, :1], GUESS[:, :2], "negated"),
    "signed difference": (lambda t, p: ops.mean(t - p, axis=-1), REAL, GUESS, "elsewhere"),
    "divergence of curves": (losses.kl_divergence, CURVES, CHANCES, "elsewhere"),
    "divergence of tags": (losses.kl_divergence, BINARY, CHANCES, "elsewhere"),
    "swapped, hard": (lambda t, p: losses.binary_crossentropy(p, t), BINARY, CHANCES, "swapped"),
    "swapped, soft": (lambda t, p: losses.binary_crossentropy(p, t), CURVES, CHANCES, "swapped"),
    "swapped, counts": (lambda t, p: losses.poisson(p, t), COUNTS, 1.0 + CHANCES, "swapped"),
    "swapped, logits": (lambda t, p: losses.binary_crossentropy(p, t, from_logits=True), BINARY, GUESS, "swapped"),
    "swapped, weighted": (lambda t, p: sure(t) * exchanged(t, p), CURVES, CHANCES, "logged"),
    "swapped, tripled": (lambda t, p: (1.0 + 2.0 * t) * exchanged(t, p), CURVES, CHANCES, "logged"),
}


@pytest.mark.parametrize("name", GUILTY)
def test_a_loss_that_falls_away_from_its_targets_is_found(name: str) -> None:
    loss, y_true, y_pred, way = GUILTY[name]
    (found,) = of_loss(loss, y_true, y_pred)
    assert found.evidence["way"] == way
    assert found.counterfactual.after < found.counterfactual.before


def test_weighted_frequencies_are_the_frequencies() -> None:
    """With sample weights a likelihood is best, and a negated one worst, at the weighted frequencies of the labels."""
    weights = np.where(CLASSES.reshape(-1) == CLASSES.reshape(-1)[0], 0.2, 3.0).astype("float32")

    def negated(t: Any, p: Any) -> Any:
        return -losses.sparse_categorical_crossentropy(t, p, from_logits=True)

    report = lossproof.check_loss(negated, CLASSES, GUESS, weights, select=["LP205"])
    assert not report.crashed, report.crashed
    assert [finding.evidence["way"] for finding in report.findings] == ["negated"]


INNOCENT: dict[str, tuple[Any, np.ndarray, np.ndarray]] = {
    "squared": ("mse", REAL, GUESS),
    "quantile": (lambda t, p: ops.maximum(0.9 * (t - p), -0.1 * (t - p)), REAL, GUESS),
    "three quantiles": (
        lambda t, p: ops.mean(
            ops.maximum(ops.array([0.1, 0.5, 0.9]) * (t - p), ops.array([-0.9, -0.5, -0.1]) * (t - p))
        ),
        REAL[:, :1],
        GUESS,
    ),
    "smoothed": (losses.BinaryCrossentropy(label_smoothing=0.2), BINARY, CHANCES),
    "smoothed classes": (losses.CategoricalCrossentropy(label_smoothing=0.2), ONE_HOT, SHARES),
    "logits": (losses.BinaryCrossentropy(from_logits=True), BINARY, GUESS),
    "ids": ("sparse_categorical_crossentropy", CLASSES, SHARES),
    "focal": ("binary_focal_crossentropy", BINARY, CHANCES),
    "focal logits": (losses.BinaryFocalCrossentropy(from_logits=True), BINARY, GUESS),
    "likeness": (lambda t, p: t * ops.sqrt(p) + (1.0 - t) * (1.0 - p), PAIRS, CHANCES[:, :1]),
    "actions that paid": (lambda t, p: -ops.mean(t * p, axis=-1), BINARY, GUESS),
    "ids on logits": (losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES, GUESS),
    "labels by numbers": ("mse", BINARY, GUESS),
    "pairs by likeness, unbounded": (of_pairs, PAIRS, 3.0 * np.abs(GUESS[:, :1])),
    "hinge": ("squared_hinge", 2.0 * BINARY - 1.0, GUESS),
    "hinge of classes": ("categorical_hinge", ONE_HOT, GUESS),
    "exponential": (lambda t, p: ops.exp(-t * p), 2.0 * BINARY - 1.0, GUESS),
    "critic of labels": (lambda t, p: -(2.0 * t - 1.0) * p, BINARY, GUESS),
    "rates": ("poisson", COUNTS, 1.0 + CHANCES),
    "robust, the other way round": (lambda t, p: ops.log1p(ops.square((1.0 - t - p) / 0.2)), PAIRS, CHANCES[:, :1]),
    "log rate": (lambda t, p: ops.exp(p) - t * p, COUNTS, GUESS),
    "likelihood": (lambda t, p: -gaussian_likelihood(t, p), REAL[:, :1], GUESS[:, :2]),
    "pairs by likeness": (of_pairs, PAIRS, CHANCES[:, :1]),
    "critic": (lambda t, p: t * p, 2.0 * PAIRS - 1.0, GUESS[:, :1]),
    "returns": (lambda t, p: -t * ops.log(p), CURVES, CHANCES),
    "profit": (lambda t, p: -ops.mean(t * p, axis=-1), REAL, GUESS),
    "profit of shares": (lambda t, p: -ops.mean(t * p, axis=-1), CURVES, CHANCES),
    "regret": (lambda t, p: ops.mean((0.5 - t) * p, axis=-1), CURVES, CHANCES),
    "weighted": (lambda t, p: ops.mean(sure(t) * exchanged(p, t), axis=-1), CURVES, CHANCES),
    "not this class": (lambda t, p: -ops.log(1.0 - ops.sum(t * p, axis=-1) + 1e-7), ONE_HOT, SHARES),
    "reverse divergence": (lambda t, p: losses.kl_divergence(p, t), shared_out(REAL), SHARES),
    "same mean": (lambda t, p: ops.square(ops.mean(t) - ops.mean(p)), REAL, GUESS),
    "cautious": (lambda t, p: ops.mean(ops.square(t - p) + 0.1 * (t - p), axis=-1), REAL, GUESS),
    "sparse": (lambda t, p: ops.mean(ops.square(t - p) + 0.1 * ops.abs(p), axis=-1), REAL, GUESS),
    "smooth": (
        lambda t, p: ops.mean(ops.square(t - p), axis=-1) + 30.0 * ops.mean(ops.square(p[:, 1:] - p[:, :-1]), axis=-1),
        REAL,
        GUESS,
    ),
    "drawn to 0": (lambda t, p: ops.mean(ops.square(t - p) + 4.0 * ops.square(p), axis=-1), REAL, GUESS),
    "deceived": (lambda t, p: -losses.binary_crossentropy(t, p), 0.0 * BINARY, CHANCES),
}


@pytest.mark.parametrize("name", INNOCENT)
def test_a_minimum_elsewhere_by_design_is_left_alone(name: str) -> None:
    assert of_loss(*INNOCENT[name]) == []


def test_the_numbers_are_those_of_a_calculation_by_hand() -> None:
    (found,) = of_loss(losses.kl_divergence, CURVES, CHANCES)
    y = CURVES.astype("float64")
    assert found.counterfactual.before == pytest.approx(0.0, abs=1e-6)
    assert found.counterfactual.after == pytest.approx(np.mean(np.sum(y * np.log(y / y.max(axis=0)), axis=1)), rel=1e-4)


def test_what_a_cross_entropy_of_the_targets_gains_at_the_ends_is_that_of_a_calculation_by_hand() -> None:
    (found,) = of_loss(lambda t, p: sure(t) * exchanged(t, p), CURVES, CHANCES)
    y = CURVES.astype("float64")

    def by_hand(p: np.ndarray) -> float:
        return float(np.mean(-2.0 * np.abs(y - 0.5) * (p * np.log(y) + (1.0 - p) * np.log(1.0 - y))))

    assert found.counterfactual.before == pytest.approx(by_hand(y), rel=1e-4)
    assert found.counterfactual.after == pytest.approx(by_hand(np.round(y)), rel=1e-4)


def test_an_overlap_is_a_score_if_the_output_ends_at_0_and_1() -> None:
    (found,) = of_model(compiled(network(3, "sigmoid"), overlap), BINARY)
    assert found.counterfactual.before == pytest.approx(1.0)
    assert found.where is not None
    assert found.where.expression == "(2.0 * ops.sum(t * p) + 1.0) / (ops.sum(t) + ops.sum(p) + 1.0)"
    assert of_model(compiled(network(3, "sigmoid"), lambda t, p: 1.0 - overlap(t, p)), BINARY) == []
    assert of_model(compiled(network(1, "sigmoid"), of_pairs), PAIRS) == []


@pytest.mark.parametrize(("sign", "guilty"), [(-1.0, True), (1.0, False)])
def test_compute_loss_is_followed(sign: float, guilty: bool) -> None:
    model = network(3, model=computing(lambda _, t, p: sign * ops.mean(ops.square(t - p))))
    assert bool(of_model(compiled(model), REAL)) == guilty


def test_a_weight_below_nought_is_meant() -> None:
    model = two_heads()
    model.compile(loss={"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": -0.1})
    assert of_model(model, {"a": REAL, "b": REAL}) == []


def test_a_frozen_adversary_is_deceived_on_purpose() -> None:
    inputs = keras.Input((4,))
    judge = layers.Dense(1, activation="sigmoid")
    model = keras.Model(inputs, judge(layers.Dense(3)(inputs)))
    loss = lambda t, p: -losses.binary_crossentropy(t, p)  # noqa: E731
    assert len(of_model(compiled(model, loss), PAIRS)) == 1
    judge.trainable = False
    assert of_model(compiled(model, loss), PAIRS) == []


def test_ids_are_looked_up_and_not_met() -> None:
    table = np.linspace(-1.0, 1.0, 64).astype("float32")
    ids = (2_000_000 + np.arange(32.0)).astype("float32")[:, None]

    def looked_up(t: Any, p: Any) -> Any:
        row = ops.cast(t, "int32") - 2_000_000
        return ops.mean(ops.square(p - ops.take(table, ops.clip(row, 0, 63), axis=0)), axis=-1)

    assert not of_loss(looked_up, ids, REAL.ravel()[:32, None])
