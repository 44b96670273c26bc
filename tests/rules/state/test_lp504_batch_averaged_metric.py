"""LP504: means over batches beside the metric of all rows, both computed in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossproof.findings.finding import Finding, Severity

from .own_steps import Judging, findings, linear

ROWS, BATCH = 256, 32
_random = np.random.default_rng(3)
X = np.sort(_random.normal(size=(ROWS, 3)), axis=0).astype("float32")
"""In order, as data often are: each batch holds rows that are alike."""
SHUFFLED = _random.permutation(ROWS)
Y = (X @ np.array([[1.0], [2.0], [0.5]]) + 0.3 * _random.normal(size=(ROWS, 1))).astype("float32")
RARE = (np.quantile(Y, 0.8) < Y).astype("float32")
"""One row in five, all at the end."""


def trained(
    metric: Any, y: np.ndarray = Y, order: np.ndarray | None = None, model: Any = None, **arguments: Any
) -> tuple[np.ndarray, list[Finding]]:
    """Predictions at the start, in float64, and what the rule says of a `fit` that is validated on the same rows."""
    x, y = (X, y) if order is None else (X[order], y[order])
    model = linear() if model is None else model
    kernel, bias = (one.astype("float64") for one in model.get_weights())

    def script() -> None:
        metrics = metric if isinstance(metric, list) else [metric]
        model.compile(optimizer=keras.optimizers.SGD(1e-4), loss="mse", metrics=metrics, run_eagerly=True)
        model.fit(x, y, **{"validation_data": (x, y), "batch_size": BATCH, "verbose": 0, **arguments})

    return x @ kernel + bias, findings("LP504", script)


# Guilty -------------------------------------------------------------------------------------------------------------


def r2(y_true: Any, y_pred: Any) -> Any:
    residual = ops.sum(ops.square(y_true - y_pred))
    return 1.0 - residual / ops.sum(ops.square(y_true - ops.mean(y_true)))


def correlation(y_true: Any, y_pred: Any) -> Any:
    a, b = y_true - ops.mean(y_true), y_pred - ops.mean(y_pred)
    return ops.sum(a * b) / ops.sqrt(ops.sum(a * a) * ops.sum(b * b))


class R2(keras.metrics.Metric):
    """Stateful by its form alone: a mean of the batches' values."""

    def __init__(self) -> None:
        super().__init__(name="r2")
        self.total = self.add_variable((), "zeros", name="total")
        self.batches = self.add_variable((), "zeros", name="batches")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(r2(y_true, y_pred))
        self.batches.assign_add(1.0)

    def result(self) -> Any:
        return self.total / self.batches


def r2_of(y: np.ndarray, predicted: np.ndarray) -> float:
    return 1.0 - float(np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2))


def correlation_of(y: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.corrcoef(y.ravel(), predicted.ravel())[0, 1])


FORMS: dict[str, tuple[Callable[[], Any], Callable[[np.ndarray, np.ndarray], float]]] = {
    "function": (lambda: r2, r2_of),
    "wrapped": (lambda: keras.metrics.MeanMetricWrapper(r2, name="r2"), r2_of),
    "class": (R2, r2_of),
    "correlation": (lambda: correlation, correlation_of),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_quotient_of_sums_in_numbers(form: str) -> None:
    make, in_numpy = FORMS[form]
    predicted, (found,) = trained(make())
    assert (found.code, found.severity) == ("LP504", Severity.WARNING)
    y = Y.astype("float64")
    by_batch = [in_numpy(y[i : i + BATCH], predicted[i : i + BATCH]) for i in range(0, ROWS, BATCH)]
    assert found.counterfactual.before == pytest.approx(np.mean(by_batch), rel=1e-4)
    assert found.counterfactual.after == pytest.approx(in_numpy(y, predicted), rel=1e-4)
    assert found.evidence["lowest batch"] == pytest.approx(min(by_batch), rel=1e-4)
    assert found.evidence["highest batch"] == pytest.approx(max(by_batch), rel=1e-4)


def f1(y_true: Any, y_pred: Any) -> Any:
    said = ops.cast(y_pred > 0.5, "float32")
    hits = ops.sum(y_true * said)
    return 2.0 * hits / (ops.sum(y_true) + ops.sum(said) + 1e-7)


def recall(y_true: Any, y_pred: Any) -> Any:
    said = ops.cast(y_pred > 0.5, "float32")
    return ops.sum(y_true * said) / (ops.sum(y_true) + 1e-7)


@pytest.mark.parametrize("metric", [f1, recall])
def test_counts_of_a_rare_class(metric: Callable[..., Any]) -> None:
    """Of batches without a positive each counts as 0."""
    _, (found,) = trained(metric, RARE)
    assert found.counterfactual.before < found.counterfactual.after
    assert found.evidence["lowest batch"] == 0.0


def test_a_rare_class_in_any_order() -> None:
    """One row in ten: some batches hold none at all, and the order has no part in it."""
    rare = (np.quantile(Y, 0.9) < Y).astype("float32")
    _, (found,) = trained(f1, rare, SHUFFLED, batch_size=8)
    assert found.evidence["lowest batch"] == 0.0
    assert found.counterfactual.before < found.counterfactual.after


def rmse(y_true: Any, y_pred: Any) -> Any:
    return ops.sqrt(ops.mean(ops.square(y_true - y_pred)))


def test_a_root_over_rare_large_rows() -> None:
    """Most batches hold none of them, so that the mean of roots is far from the root of the mean."""
    y = Y.copy()
    y[np.random.default_rng(5).choice(ROWS, ROWS // 100, replace=False)] += 200.0
    predicted, (found,) = trained(rmse, y, batch_size=16)
    squares = ((y - predicted) ** 2).ravel()
    assert found.counterfactual.after == pytest.approx(np.sqrt(squares.mean()), rel=1e-4)
    by_batch = np.sqrt(squares[: ROWS // 16 * 16].reshape(-1, 16).mean(axis=1))
    assert found.counterfactual.before == pytest.approx(by_batch.mean(), rel=1e-4)


# Innocent -----------------------------------------------------------------------------------------------------------


def absolute(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def hit(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.cast(ops.equal(y_true, ops.cast(y_pred > 0.5, "float32")), "float32"))


def bias(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(y_pred) - ops.mean(y_true)


def spread(y_true: Any, y_pred: Any) -> Any:
    """A sum has no value for the data."""
    return ops.sum(ops.square(y_true - y_pred))


def found_among_the_batch(y_true: Any, y_pred: Any) -> Any:
    """Which target of this batch is nearest: a number that is meant for the batch."""
    nearest = ops.argmin(ops.abs(y_pred - ops.transpose(y_true)), axis=1)
    return ops.mean(ops.cast(ops.equal(nearest, ops.arange(ops.shape(y_true)[0], dtype=nearest.dtype)), "float32"))


def found_or_tied(y_true: Any, y_pred: Any) -> Any:
    """The same with a draw that counts."""
    away = ops.abs(y_pred - ops.transpose(y_true))
    return ops.mean(ops.cast(ops.diagonal(away) <= ops.min(away, axis=1), "float32"))


class R2OfTheEpoch(keras.metrics.Metric):
    """Adds up what it needs."""

    def __init__(self) -> None:
        super().__init__(name="r2")
        self.sums = self.add_variable((4,), "zeros", name="sums")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        residual = ops.sum(ops.square(y_true - y_pred))
        rows = ops.cast(ops.size(y_true), "float32")
        self.sums.assign_add(ops.stack([residual, ops.sum(y_true), ops.sum(ops.square(y_true)), rows]))

    def result(self) -> Any:
        residual, total, squares, rows = (self.sums[i] for i in range(4))
        return 1.0 - residual / (squares - total * total / rows)


@pytest.mark.parametrize(
    ("metric", "y"),
    [
        (absolute, Y),
        (hit, RARE),
        (bias, Y),
        (spread, Y),
        (lambda y_true, y_pred: ops.abs(y_true - y_pred) < 1.0, Y),
    ],
    ids=["absolute", "hit", "bias", "sum", "lambda"],
)
def test_means_and_what_has_no_value(metric: Any, y: np.ndarray) -> None:
    _, found = trained(metric, y)
    assert not found


def test_a_root_over_ordinary_rows() -> None:
    _, found = trained(rmse, Y, SHUFFLED)
    assert not found


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3, 1.0, 100.0])
@pytest.mark.parametrize("metric", [found_among_the_batch, found_or_tied])
def test_what_is_looked_for_in_the_batch(metric: Any, noise: float) -> None:
    """From a model that is trained well (few mistakes among 32, more among all) to one that guesses."""
    model = linear()
    random = np.random.default_rng(int(10 * noise))
    weights = np.array([[1.0], [2.0], [0.5]]) + noise * random.normal(size=(3, 1))
    model.set_weights([weights.astype("float32"), np.zeros(1, "float32")])
    _, found = trained(metric, X @ np.array([[1.0], [2.0], [0.5]], "float32"), SHUFFLED, model)
    assert not found


def test_metrics_that_add_up() -> None:
    metrics = [R2OfTheEpoch(), keras.metrics.R2Score(name="of_keras"), keras.metrics.RootMeanSquaredError(), "mae"]
    _, found = trained(metrics)
    assert not found


def test_classification_metrics_of_keras() -> None:
    metrics = ["accuracy", keras.metrics.Precision(), keras.metrics.Recall(), keras.metrics.AUC(num_thresholds=10)]
    _, found = trained(metrics, RARE)
    assert not found


def test_a_root_on_ordinary_batches() -> None:
    """Jensen's inequality moves it by less than three standard errors."""

    def root(y_true: Any, y_pred: Any) -> Any:
        return ops.sqrt(ops.mean(ops.square(y_true - y_pred)))

    _, found = trained(root, order=SHUFFLED)
    assert not found


def test_one_batch_has_nothing_to_average() -> None:
    _, found = trained(r2, batch_size=ROWS)
    assert not found


@pytest.mark.backend("jax", "torch")  # Keras on TensorFlow refuses to fit with a metric that is never updated
def test_a_step_that_never_updates_it() -> None:
    """What a custom step does not use is not reported."""

    class Own(Judging):
        def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
            return self.judged(y, y_pred, loss)

        def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
            return {"error": loss}

    _, found = trained(r2, model=linear(Own))
    assert not found


def test_layers_with_a_mode() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1)(layers.Dropout(0.5)(layers.BatchNormalization()(inputs))))

    def script() -> None:
        model.compile(optimizer="sgd", loss="mse", metrics=[absolute], run_eagerly=True)
        model.fit(X, Y, validation_data=(X, Y), batch_size=BATCH, verbose=0)

    assert not findings("LP504", script)
