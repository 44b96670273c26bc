"""LP305: the same objective in another process with another backend, against NumPy on the predictions of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lossproof.lab.elsewhere import Measured
from lossproof.lab.execution.other_backends import _part

SCRIPT = """
import keras
import numpy as np
from keras import layers, ops

x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
y = {y}
{loss}

model = keras.Sequential([keras.Input((4,)), {layers}])
model.compile(optimizer="sgd", loss=loss)
model.fit(x, y, verbose=0)
"""
OTHER = {"tensorflow": "torch", "torch": "jax", "jax": "torch"}


@pytest.fixture
def findings(check_script: Callable[..., Any], backend: str) -> Callable[..., list[dict[str, Any]]]:
    """What LP305 finds against another backend in a script of these parts."""

    def run(loss: str, y: str, output: str) -> list[dict[str, Any]]:
        text = SCRIPT.format(loss=loss, y=y, layers=output)
        done = check_script(text, options=("--select", "LP305", "--backends", OTHER[backend]))
        assert "LP305" in done.report["rules"]["checked"], done.report["rules"]
        found: list[dict[str, Any]] = done.report["findings"]
        return found

    return run


@pytest.mark.backend("tensorflow")
def test_logits_that_only_tensorflow_repairs(findings: Callable[..., list[dict[str, Any]]]) -> None:
    (finding,) = findings(
        "loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)",
        "np.argmax(x[:, :3], axis=1)",
        'layers.Dense(3, activation="softmax")',
    )
    evidence = finding["evidence"]
    assert evidence["right"] == "torch"  # which applies the softmax twice, as the code says
    assert evidence["values"][1] == pytest.approx(evidence["reference"], rel=1e-5)
    assert evidence["values"][0] != pytest.approx(evidence["reference"], rel=1e-2)


@pytest.mark.backend("torch", "jax")
def test_labels_that_only_jax_overlooks(findings: Callable[..., list[dict[str, Any]]]) -> None:
    (finding,) = findings(
        "loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)",
        "np.arange(32) % 4",
        "layers.Dense(3)",
    )
    assert finding["evidence"]["kind"] == "raises"


@pytest.mark.parametrize(
    ("loss", "y", "output"),
    [
        ("loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)", "np.arange(32) % 3", "layers.Dense(3)"),
        (
            "loss = lambda t, p: ops.mean(ops.abs(t - p), axis=-1)",
            "np.zeros((32, 1))",  # at a kink for every zero prediction
            'layers.Dense(8, activation="relu"), layers.Dropout(0.5), layers.BatchNormalization(), layers.Dense(1)',
        ),
    ],
)
def test_backends_that_agree(findings: Callable[..., list[dict[str, Any]]], loss: str, y: str, output: str) -> None:
    assert not findings(loss, y, output)


def test_where_two_gradients_part() -> None:
    one = Measured(1.0, gradients=(np.array([1.0, 2.0]), np.array([3.0])))
    assert _part(one, one) is None
    assert _part(one, Measured(1.0, gradients=(np.array([1.0, 2.0]), np.array([3.1])))) == 1
    assert _part(one, Measured(1.0, gradients=(np.array([1.0, 2.001]), np.array([3.0])))) is None


def test_it_is_compared_on_request(check_script: Callable[..., Any]) -> None:
    text = SCRIPT.format(loss='loss = "mse"', y="x[:, :1]", layers="layers.Dense(1)")
    assert "--backends" in check_script(text, options=("--select", "LP305")).report["rules"]["skipped"]["LP305"]


def test_an_unknown_backend(check_script: Callable[..., Any]) -> None:
    done = check_script("import keras", options=("--backends", "mxnet"))
    assert done.status == 2
    assert "unknown backend 'mxnet'" in done.stderr
