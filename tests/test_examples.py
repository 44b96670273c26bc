"""The examples go wrong in the way they say, measured against NumPy in float64.

With SGD at rate 1 and a single step, what a weight loses is the gradient that training follows.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
BATCH = 24


def run_example(name: str) -> dict[str, Any]:
    """What the script leaves behind, its model with moderate weights (trained by a wrong gradient they are huge)."""
    script = runpy.run_path(str(EXAMPLES / name))
    rng = np.random.default_rng(0)
    script["model"].set_weights([0.4 * rng.normal(size=w.shape) for w in script["model"].get_weights()])
    return script


@pytest.fixture(scope="module")
def weighted() -> dict[str, Any]:
    return run_example("weighted_targets.py")


@pytest.fixture(scope="module")
def broadcast() -> dict[str, Any]:
    return run_example("broadcast_pairs.py")


def value(script: dict[str, Any], loss: Any, x: np.ndarray, y: np.ndarray) -> float:
    """The loss that Keras reports for the script's model on this batch."""
    model = script["model"]
    model.compile(loss=loss, metrics=[])
    return model.evaluate(x, y, batch_size=len(x), verbose=0)


def bias_gradient(script: dict[str, Any], loss: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient of the loss with respect to the last bias, as one training step sees it."""
    import keras

    model = script["model"]
    before = model.get_weights()
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss)
    model.train_on_batch(x, y)
    after = model.get_weights()
    model.set_weights(before)
    return before[-1] - after[-1]


def forward(script: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """The model's outputs before the last activation, in float64."""
    w1, b1, w2, b2 = (w.astype("float64") for w in script["model"].get_weights())
    return np.maximum(x.astype("float64") @ w1 + b1, 0.0) @ w2 + b2


def weighted_batch(script: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """A batch that holds all three kinds alike."""
    rows = np.concatenate([np.flatnonzero(script["kind"] == k)[: BATCH // 3] for k in range(3)])
    return script["bands"][rows], script["targets"][rows]


def true_loss(logits: np.ndarray, y: np.ndarray, class_weight: np.ndarray) -> float:
    log_p = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
    return float(np.mean(-np.sum(y * class_weight * log_p, axis=1)))


def true_gradient(logits: np.ndarray, y: np.ndarray, class_weight: np.ndarray) -> np.ndarray:
    """Central differences of the loss, one per bias."""
    step = 1e-5
    shifts = step * np.eye(3)
    return np.array(
        [(true_loss(logits + s, y, class_weight) - true_loss(logits - s, y, class_weight)) / (2 * step) for s in shifts]
    )


def test_weighted_targets_gradient_is_wrong_on_tensorflow_alone(weighted: dict[str, Any], backend: str) -> None:
    x, y = weighted_batch(weighted)
    logits = forward(weighted, x)
    class_weight = weighted["class_weight"].astype("float64")
    measured = bias_gradient(weighted, weighted["weighted_crossentropy"], x, y)
    expected = true_gradient(logits, y, class_weight)
    if backend == "tensorflow":
        softmax = np.exp(logits) / np.sum(np.exp(logits), axis=1, keepdims=True)
        expected_wrong = np.mean(softmax - y * class_weight, axis=0)
        np.testing.assert_allclose(measured, expected_wrong, rtol=1e-4, atol=1e-4)
        assert np.linalg.norm(measured - expected) > 0.5 * np.linalg.norm(measured)
    else:
        np.testing.assert_allclose(measured, expected, rtol=1e-3, atol=1e-4)


def test_weighted_targets_value_is_right_everywhere(weighted: dict[str, Any]) -> None:
    x, y = weighted_batch(weighted)
    expected = true_loss(forward(weighted, x), y, weighted["class_weight"].astype("float64"))
    assert value(weighted, weighted["weighted_crossentropy"], x, y) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_weighted_targets_cure_has_the_true_gradient_everywhere(weighted: dict[str, Any]) -> None:
    import keras

    class_weight = weighted["class_weight"]

    def cured(y_true: Any, y_pred: Any) -> Any:
        weight = keras.ops.sum(keras.ops.multiply(y_true, class_weight), axis=-1)
        return weight * keras.losses.categorical_crossentropy(y_true, y_pred)

    x, y = weighted_batch(weighted)
    expected = true_gradient(forward(weighted, x), y, class_weight.astype("float64"))
    np.testing.assert_allclose(bias_gradient(weighted, cured, x, y), expected, rtol=1e-3, atol=1e-4)


def stockout_cost(short: np.ndarray) -> float:
    return float(np.mean(np.where(short > 0, 3.0, 1.0) * short**2))


def test_broadcast_pairs_averages_over_all_pairs(broadcast: dict[str, Any]) -> None:
    x, y = broadcast["days"][:BATCH], broadcast["sales"][:BATCH]
    forecast = forward(broadcast, x)[:, 0]
    all_pairs = stockout_cost(y.astype("float64")[None, :] - forecast[:, None])
    own_pairs = stockout_cost(y - forecast)
    assert value(broadcast, broadcast["StockoutCost"](), x, y) == pytest.approx(all_pairs, rel=1e-4)
    assert own_pairs != pytest.approx(all_pairs, rel=1e-2)


def test_broadcast_pairs_cure_compares_each_day_with_its_own_sales(broadcast: dict[str, Any]) -> None:
    x, y = broadcast["days"][:BATCH], broadcast["sales"][:BATCH]
    own_pairs = stockout_cost(y - forward(broadcast, x)[:, 0])
    assert value(broadcast, broadcast["StockoutCost"](), x, y[:, None]) == pytest.approx(own_pairs, rel=1e-4)
