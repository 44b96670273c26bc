"""LP106 of a softmax along the samples, against one along the features in NumPy, beside losses over a batch that are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import lossproof
from lossproof.findings.finding import Finding, Severity

from .ways import SIZE, WAYS, X, Y, linear, predicted


def findings(outputs: int, y: Any, loss: Any, size: int = SIZE) -> tuple[keras.Model, list[Finding]]:
    keras.utils.set_random_seed(5)
    model = linear(outputs)
    model.compile(optimizer="sgd", loss=loss)
    report = lossproof.check(model, X[:size], y[:size], select=["LP106"])
    assert not report.crashed, report.crashed
    return model, list(report.findings)


def top_one(y_true: Any, y_pred: Any) -> Any:
    return -ops.sum(ops.softmax(y_true, axis=0) * ops.log_softmax(y_pred, axis=0), axis=-1)


def shares(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("name", WAYS)
def test_a_softmax_over_the_samples(name: str) -> None:
    model, (found,) = findings(3, Y, WAYS[name](top_one))
    assert found.severity == Severity.WARNING
    assert found.evidence["coupling"] == "wrong axis"
    p, t = shares(predicted(model)), shares(Y.astype("float64"))
    (row,) = [one for one in found.counterfactual.rows if "exchanged" in one.label]
    assert row.before == pytest.approx(-np.mean(np.sum(t * np.log(p), axis=-1)), rel=1e-5)


def test_a_mean_over_the_features() -> None:
    model, (found,) = findings(3, Y, lambda t, p: top_one(t, p) / 3.0)
    p, t = shares(predicted(model)), shares(Y.astype("float64"))
    (row,) = [one for one in found.counterfactual.rows if "exchanged" in one.label]
    assert row.before == pytest.approx(-np.mean(np.mean(t * np.log(p), axis=-1)), rel=1e-5)


def bag(y_true: Any, y_pred: Any) -> Any:
    whole = ops.sum(ops.softmax(y_pred, axis=0) * ops.sigmoid(y_pred), axis=0, keepdims=True)
    return ops.mean(ops.square(y_true - whole), axis=-1)


MEANT: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "one list for each feature": (
        lambda t, p: -ops.sum(ops.softmax(t, axis=0) * ops.log_softmax(p, axis=0), axis=0),
        3,
    ),
    "one number": (lambda t, p: ops.sum(top_one(t, p)), 3),
    "a single list": (top_one, 1),
    "along the features": (lambda t, p: -ops.sum(ops.softmax(t) * ops.log_softmax(p), axis=-1), 3),
    "standard scores": (
        lambda t, p: ops.mean(
            ops.square((t - ops.mean(t, axis=0)) / ops.std(t, axis=0) - (p - ops.mean(p, axis=0)) / ops.std(p, axis=0)),
            axis=-1,
        ),
        3,
    ),
    "one bag of samples": (bag, 3),
    "both axes": (lambda t, p: top_one(t, p) - ops.sum(ops.softmax(t) * ops.log_softmax(p), axis=-1), 3),
}


@pytest.mark.parametrize("name", MEANT)
def test_what_may_be_meant_is_no_warning(name: str) -> None:
    loss, outputs = MEANT[name]
    _, found = findings(outputs, Y[:, :outputs], loss)
    assert all(one.evidence["coupling"] != "wrong axis" for one in found)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_deviation_of_one_degree_less(lost: int) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        def score(x: Any) -> Any:
            apart = x - ops.mean(x, axis=0)
            return apart / ops.sqrt(ops.sum(ops.square(apart), axis=0) / (x.shape[0] - lost) + 1e-6)

        return ops.mean(ops.square(score(y_true) - score(y_pred)), axis=-1)

    _, found = findings(3, Y, loss)
    assert all(one.evidence["coupling"] != "wrong axis" for one in found)


def test_scores_of_all_pairs() -> None:
    """As many features as samples: each text's softmax over the pictures of the batch."""
    pairs = np.eye(SIZE, dtype="float32")
    _, found = findings(SIZE, pairs, lambda t, p: -ops.sum(t * ops.log_softmax(p, axis=0), axis=-1))
    assert all(one.severity == Severity.NOTE for one in found)
