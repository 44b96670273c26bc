"""LP201 against losses whose gradient is known: kinks, casts, stops and gradients of one's own are no mismatch."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof

def _beside(name: str) -> Any:
    """A module of this folder; it stays in `sys.modules`, as a user's would."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ON_PURPOSE = _beside("gradients_on_purpose").ON_PURPOSE
BACKEND = os.environ["KERAS_BACKEND"]
ROWS, COLUMNS = 24, 3
FLOAT = "float32"


def data(scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return tuple((scale * rng.normal(size=(ROWS, COLUMNS))).astype(FLOAT) for _ in range(2))  # type: ignore[return-value]


def mismatches(loss: Any, y_true: Any, y_pred: Any) -> list[Any]:
    report = lossproof.check_loss(loss, y_true, y_pred, select=["LP201"])
    assert not report.crashed, report.crashed
    return list(report.findings)


# Healthy: what a numeric derivative stumbles over -----------------------------------------------------------------


def quantile(y_true: Any, y_pred: Any) -> Any:
    error = y_true - y_pred
    return ops.mean(ops.maximum(0.9 * error, -0.1 * error), axis=-1)


def smooth_hinge(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.relu(1.0 - ops.sign(y_true) * y_pred), axis=-1)


def worst(y_true: Any, y_pred: Any) -> Any:
    return ops.max(ops.abs(y_true - y_pred), axis=-1)


def clipped(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - ops.clip(y_pred, -0.5, 0.5)), axis=-1)


def euclid(y_true: Any, y_pred: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(y_true - y_pred), axis=-1))


def constant(y_true: Any, y_pred: Any) -> Any:
    return 1e6 + ops.mean(ops.square(y_true - y_pred), axis=-1)


def cancelling(y_true: Any, y_pred: Any) -> Any:
    return (1e5 + ops.mean(ops.square(y_true - y_pred), axis=-1)) - 1e5


def through(dtype: str) -> Callable[[Any, Any], Any]:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(ops.cast(y_true, dtype) - ops.cast(y_pred, dtype)), axis=-1)

    return loss


def sorted_error(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(ops.sort(y_true, axis=0) - ops.sort(y_pred, axis=0)), axis=-1)


def log_cosh_cut(y_true: Any, y_pred: Any) -> Any:
    error = ops.abs(y_true - y_pred)
    return ops.mean(ops.where(error < 0.3, ops.square(error), 0.6 * error - 0.09), axis=-1)


def noisy(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred - 0.1 * keras.random.normal(ops.shape(y_pred))), axis=-1)


KINKED = {
    "absolute": "mae",
    "huber": "huber",
    "percentage": "mape",
    "quantile": quantile,
    "hinge": smooth_hinge,
    "worst": worst,
    "clipped": clipped,
    "euclid": euclid,
    "sorted": sorted_error,
    "pieces": log_cosh_cut,
    "constant": constant,
    "cancelling": cancelling,
    "float16": through("float16"),
    "bfloat16": through("bfloat16"),
    "float32": through("float32"),
    "noisy": noisy,
}


@pytest.mark.parametrize("equal", [0.0, 0.3, 1.0], ids=["none-equal", "some-equal", "all-equal"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("name", KINKED)
def test_kinks_casts_and_scales_are_no_mismatch(name: str, scale: float, equal: float) -> None:
    y_true, y_pred = data(scale)
    rows = int(equal * ROWS)
    y_pred[:rows] = y_true[:rows]
    assert not mismatches(KINKED[name], y_true, y_pred)


@pytest.mark.parametrize("name", ON_PURPOSE)
def test_gradients_made_on_purpose_are_no_mismatch(name: str) -> None:
    assert not mismatches(ON_PURPOSE[name], *data())
