"""LP107: what happens to targets on their way, against the same loss in NumPy on the targets as they were passed."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding, Severity

ROWS = 24
X = np.random.default_rng(3).normal(size=(ROWS, 4)).astype("float32")
SECONDS = 1_700_000_000 + 20 * np.arange(ROWS)
START = 1_700_000_000
TABLE = np.linspace(0.0, 1.0, 64).astype("float32")


def model_of(loss: Any, units: int = 1, kind: Any = keras.Model) -> keras.Model:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((4,))
    model = kind(inputs, layers.Dense(units)(inputs))
    model.compile(optimizer="sgd", loss=loss)
    return model


def findings(model: keras.Model, y: Any, **data: Any) -> list[Finding]:
    report = lossproof.check(model, X, y, select=["LP107"], **data)
    assert not report.crashed, report.crashed
    return list(report.findings)


def one(model: keras.Model, y: Any) -> Finding:
    (found,) = findings(model, y)
    assert (found.code, found.severity) == ("LP107", Severity.ERROR)
    return found


def squared(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


class Squared(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred)


def of_the_hour(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(ops.mod(y_true, 3600) / 3600 - y_pred), axis=-1)


def looked_up(y_true: Any, y_pred: Any) -> Any:
    row = ops.mod(ops.cast(y_true, "int32"), 64)
    return ops.mean(ops.square(ops.take(TABLE, row, axis=0) - y_pred), axis=-1)


def ranked(y_true: Any, y_pred: Any) -> Any:
    """A Cox likelihood over the batch, written for one-dimensional times."""
    risk = ops.take(ops.reshape(y_pred, (-1,)), ops.argsort(-y_true))
    return -ops.mean(ops.reshape(risk, (-1,)) - ops.log(ops.cumsum(ops.exp(ops.reshape(risk, (-1,))))))


# Values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "mae", squared, lambda t, p: squared(t, p), Squared(), keras.losses.Huber()])
def test_seconds_since_1970_lose_their_last_digits(loss: Any) -> None:
    y = SECONDS[:, None]
    found = one(model_of(loss), y)
    assert found.evidence["kind"] == "neighbours"
    assert found.evidence["largest_change"] == np.abs(y.astype("float32").astype("float64") - y).max()
    expected = {"mae": 20.0, "huber_loss": 19.5}.get(str(getattr(loss, "name", loss)), 400.0)
    assert found.counterfactual.after == pytest.approx(expected, rel=1e-6)
    (shifted,) = found.counterfactual.rows
    assert shifted.before == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", ["int64", "float64"])
def test_seconds_are_the_same_in_both_dtypes(kind: str) -> None:
    assert one(model_of("mse"), SECONDS.astype(kind)[:, None]).evidence["passed"] == kind


def test_a_large_batch_is_represented_by_its_first_rows() -> None:
    x, y = np.tile(X, (4, 1)), START + 20 * np.arange(4 * ROWS)
    report = lossproof.check(model_of("mae"), x, y, batch_size=64, select=["LP107"])
    (found,) = report.findings
    assert found.counterfactual.after == pytest.approx(20.0)


def test_what_a_loss_makes_of_the_digits_that_are_lost() -> None:
    y = (SECONDS + 7)[:, None]
    model = model_of(of_the_hour)
    found = one(model, y)
    predictions = model.predict(X, verbose=0).astype("float64")
    assert found.evidence["kind"] == "value"
    assert found.counterfactual.after == pytest.approx(np.mean((y % 3600 / 3600 - predictions) ** 2), rel=1e-5)
    assert found.counterfactual.before == pytest.approx(
        np.mean((y.astype("float32").astype("float64") % 3600 / 3600 - predictions) ** 2), rel=1e-5
    )


def test_ids_above_24_bits_look_up_other_rows() -> None:
    y = 20_000_001 + 2 * np.arange(ROWS)[:, None]  # odd: every one of them is rounded
    model = model_of(looked_up)
    found = one(model, y)
    predictions = model.predict(X, verbose=0).astype("float64")
    assert found.evidence["changed"] == ROWS
    assert found.counterfactual.after == pytest.approx(np.mean((TABLE[y % 64] - predictions) ** 2), rel=1e-5)
    assert found.where is not None
    assert re.search("y_true", found.where.expression or "")


@pytest.mark.backend("jax")
def test_jax_wraps_milliseconds_around() -> None:
    found = one(model_of("mse"), 1_700_000_000_000 + 1000 * np.arange(ROWS)[:, None])
    assert found.evidence["largest_change"] > 1e12  # type: ignore[operator]


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("mse", SECONDS - START),
        (squared, (SECONDS - START).astype("float32")[:, None]),
        ("mse", np.random.default_rng(0).normal(size=(ROWS, 1))),
        ("mse", 250_000.0 + 50_000.0 * np.random.default_rng(0).normal(size=(ROWS, 1))),
        ("mae", 101_325.0 + 50.0 * np.random.default_rng(0).normal(size=(ROWS, 1))),
        ("mse", 10**9 + (10**8 * np.random.default_rng(0).normal(size=(ROWS, 1))).astype("int64")),
        (of_the_hour, (SECONDS - START)[:, None]),
        (looked_up, 2_000_001 + 2 * np.arange(ROWS)[:, None]),
        (lambda t, p: ops.mean(ops.where(t > 0.3, ops.square(p), ops.abs(p)), axis=-1), np.full((ROWS, 1), 0.1 + 0.2)),
        (lambda t, p: ops.mean(ops.where(t > 0.1, ops.square(p), ops.abs(p)), axis=-1), np.full((ROWS, 1), 0.1)),
        ("mse", 7 * np.ones((ROWS, 1), "int64")),
        ("mse", np.full((ROWS, 1), 20_000_001)),
        ("mse", np.random.default_rng(0).random((ROWS, 1)) > 0.5),
    ],
)
def test_rounding_alone_is_no_change(loss: Any, y: np.ndarray) -> None:
    assert not findings(model_of(loss), y)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int8"])
def test_ordinary_labels(dtype: str) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert not findings(model_of(loss, 3), (np.arange(ROWS) % 3).astype(dtype))


# Arithmetic --------------------------------------------------------------------------------------------------------


class Margin(keras.Model):
    """A hinge loss on labels 0 and 1, which become -1 and 1."""

    cast_first = False

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, **_: Any) -> Any:
        y = ops.cast(y, "float32") if self.cast_first else y
        sign = ops.cast(2 * y - 1, "float32")
        return ops.mean(ops.maximum(1.0 - sign * y_pred, 0.0))


class CastFirst(Margin):
    cast_first = True


def test_unsigned_arithmetic_wraps_around() -> None:
    y = (np.arange(ROWS) % 2).astype("uint8")[:, None]
    model = model_of(None, kind=Margin)
    found = one(model, y)
    predictions = model.predict(X, verbose=0).astype("float64")
    signs = 2.0 * y - 1.0
    assert found.evidence["kind"] == "arithmetic"
    assert found.counterfactual.after == pytest.approx(np.maximum(1.0 - signs * predictions, 0.0).mean(), rel=1e-5)
    wrapped = np.where(y == 0, 255.0, 1.0)
    assert found.counterfactual.before == pytest.approx(np.maximum(1.0 - wrapped * predictions, 0.0).mean(), rel=1e-5)
    assert found.where is not None
    assert found.where.expression == "2 * y - 1"


def test_signed_or_cast_labels_do_not_wrap() -> None:
    y = (np.arange(ROWS) % 2)[:, None]
    assert not findings(model_of(None, kind=CastFirst), y.astype("uint8"))
    assert not findings(model_of(None, kind=Margin), y.astype("int32"))
    assert not findings(model_of(None, kind=Margin), y.astype("float64"))


# Rank --------------------------------------------------------------------------------------------------------------


def cox(times: np.ndarray, scores: np.ndarray) -> float:
    risk = scores.ravel()[np.argsort(-times, kind="stable")]
    return float(-np.mean(risk - np.log(np.cumsum(np.exp(risk)))))


def test_an_axis_that_a_sort_follows() -> None:
    times = np.random.default_rng(5).permutation(ROWS).astype("float32")
    model = model_of(ranked)
    found = one(model, times)
    assert (found.evidence["passed"], found.evidence["received"]) == ([ROWS], [ROWS, 1])
    assert found.counterfactual.after == pytest.approx(cox(times, model.predict(X, verbose=0)), rel=1e-5)
    assert found.counterfactual.before != pytest.approx(found.counterfactual.after, rel=1e-3)


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        squared,
        lambda t, p: ranked(ops.reshape(t, (-1,)), p),
        lambda t, p: ops.sqrt(ops.sum(ops.square(t - p), axis=-1) + 1e-6),
        lambda t, p: ops.max(ops.abs(t - p), axis=-1),
        lambda t, p: ops.mean(ops.square(ops.squeeze(t, -1) - ops.squeeze(p, -1))),
        lambda t, p: ops.square(t[:, 0] - p[:, 0]),
        keras.losses.CosineSimilarity(),
    ],
)
def test_an_axis_that_is_welcome(loss: Any) -> None:
    assert not findings(model_of(loss), np.random.default_rng(5).permutation(ROWS).astype("float32"))


def pinball(y_true: Any, y_pred: Any) -> Any:
    error = y_true - y_pred
    shares = ops.convert_to_tensor([0.1, 0.5, 0.9])
    return ops.mean(ops.maximum(shares * error, (shares - 1.0) * error), axis=-1)


def test_targets_of_which_rounding_leaves_little_are_found_whatever_the_loss_makes_of_them() -> None:
    y = (START + 3 * np.arange(ROWS))[:, None]
    found = one(model_of(pinball, 3), y)
    assert found.evidence["kind"] == "rounded"
    assert found.counterfactual.after == len(np.unique(y))
    assert found.counterfactual.before == len(np.unique(y.astype("float32")))
    assert found.counterfactual.rows[0].before == len(np.unique((y - y.mean().round()).astype("float32")))


@pytest.mark.parametrize(
    "y",
    [
        START + 86_400 * np.arange(ROWS),  # days, to the nearest two minutes
        np.arange(ROWS) - ROWS // 2,
        np.full(ROWS, START),
    ],
)
def test_targets_that_keep_most_of_how_they_differ(y: np.ndarray) -> None:
    assert not findings(model_of(pinball, 3), y[:, None])


def test_rounded_targets_that_the_loss_does_not_read() -> None:
    assert not findings(
        model_of(lambda t, p: ops.mean(ops.square(p), axis=-1) + 0.0 * ops.cast(t[:, 0] > 0, "float32"), 3),
        (START + 3 * np.arange(ROWS))[:, None],
    )


def test_random_numbers_of_another_precision_are_no_change_of_the_targets() -> None:
    """JAX draws other numbers where float64 is available, which is how arithmetic is tried in wider dtypes."""

    class Noisy(keras.Model):
        def compute_loss(
            self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
        ) -> Any:
            kept = keras.random.dropout(ops.ones_like(y_pred), 0.5, seed=self.seeds)
            return ops.mean(kept * ops.square(y_pred - ops.cast(y, "float32")))

    model = model_of(None, 1, Noisy)
    model.seeds = keras.random.SeedGenerator(3)
    assert not findings(model, np.arange(ROWS)[:, None])
