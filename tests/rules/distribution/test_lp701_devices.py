"""LP701 on JAX, and on request: the script runs once more with another number of simulated devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SCRIPT = """
import keras
import numpy as np
from keras import layers, ops

{setup}
x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")


def error(y_true, y_pred):
    return {loss}


model = keras.Sequential([keras.Input((4,)), layers.Dense(1, kernel_initializer="ones")])
model.compile(optimizer="sgd", loss=error)
model.fit(x, x[:, :1], verbose=0, shuffle=False)
"""
MEAN = "ops.mean(ops.square(y_true - y_pred))"
ROWS = "ops.mean(ops.square(y_true - y_pred), axis=-1)"
DEVICES = "parts = len(keras.distribution.list_devices())"
DISTRIBUTED = "keras.distribution.set_distribution(keras.distribution.DataParallel())\n" + DEVICES


def found(check_script: Callable[..., Any], setup: str, loss: str, *options: str) -> list[dict[str, Any]]:
    done = check_script(SCRIPT.format(setup=setup, loss=loss), options=("--select", "LP701", *options))
    findings: list[dict[str, Any]] = done.report["findings"]
    assert findings or "LP701" in done.report["rules"]["checked"], done.report["rules"]
    return findings


@pytest.mark.backend("jax")
def test_two_simulated_devices(check_script: Callable[..., Any]) -> None:
    (finding,) = found(check_script, DISTRIBUTED, f"{MEAN} / parts")
    assert finding["severity"] == "warning"
    assert finding["evidence"]["shared"] == pytest.approx(finding["evidence"]["one_device"] / 2.0)
    assert "error" in finding["where"]["source"]


@pytest.mark.backend("jax")
def test_a_mean_is_the_same_on_any_number(check_script: Callable[..., Any]) -> None:
    assert not found(check_script, DISTRIBUTED, MEAN)


@pytest.mark.backend("jax")
def test_four_on_request(check_script: Callable[..., Any]) -> None:
    (finding,) = found(check_script, DEVICES, f"{ROWS} / parts", "--replicas", "4")
    assert finding["evidence"]["shared"] == pytest.approx(finding["evidence"]["one_device"] / 4.0)


@pytest.mark.backend("tensorflow")
def test_a_scalar_on_request(check_script: Callable[..., Any]) -> None:
    (finding,) = found(check_script, "", MEAN, "--replicas", "2")
    assert finding["severity"] == "warning"
    assert finding["evidence"]["shared"] == pytest.approx(2.0 * finding["evidence"]["one_device"])


@pytest.mark.backend("tensorflow")
def test_a_value_for_each_row_on_request(check_script: Callable[..., Any]) -> None:
    assert not found(check_script, "", ROWS, "--replicas", "2")


def test_one_replica_is_no_comparison(check_script: Callable[..., Any]) -> None:
    done = check_script("import keras", options=("--replicas", "1"))
    assert done.status == 2
    assert "expected at least 2 replicas, found 1" in done.stderr
