"""Models whose loss can be worked out by hand, and that working out, in NumPy float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

ROWS = 40
L2, L1, ADDED = 0.02, 0.003, 0.5


class Added(layers.Layer):
    """Adds half of the mean square of what passes through."""

    def call(self, x: Any) -> Any:
        self.add_loss(ADDED * keras.ops.mean(keras.ops.square(x)))
        return x


def two_outputs(dropout: float = 0.0, compiled: bool = True, weights: Any = (0.7, 0.2)) -> keras.Model:
    inputs = keras.Input((5,), name="x")
    hidden = layers.Dense(6, activation="tanh", kernel_regularizer=keras.regularizers.L2(L2), name="hidden")(inputs)
    hidden = Added(name="added")(hidden)
    if dropout:
        hidden = layers.Dropout(dropout, seed=3, name="drop")(hidden)
    kind = layers.Dense(3, activation="softmax", kernel_regularizer=keras.regularizers.L1(L1), name="kind")(hidden)
    size = layers.Dense(1, name="size")(hidden)
    model = keras.Model(inputs, {"kind": kind, "size": size}, name="two")
    if compiled:
        model.compile(
            optimizer=keras.optimizers.SGD(0.1),
            loss={"kind": "sparse_categorical_crossentropy", "size": "mae"},
            loss_weights={"kind": weights[0], "size": weights[1]},
        )
    return model


def data(rows: int = ROWS, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5)).astype("float32")
    y = {"kind": rng.integers(0, 3, rows), "size": rng.normal(size=(rows, 1)).astype("float32")}
    weights = {name: rng.uniform(0.2, 2.0, rows).astype("float32") for name in y}
    return x, y, weights


def by_hand(model: keras.Model, x: Any, y: Any, weights: Any = None, factors: Any = (0.7, 0.2)) -> dict[str, float]:
    """Every part of the loss of `two_outputs` without dropout, in float64."""
    w1, b1, w2, b2, w3, b3 = (np.asarray(keras.ops.convert_to_numpy(v), "float64") for v in model.trainable_variables)
    hidden = np.tanh(x.astype("float64") @ w1 + b1)
    logits = hidden @ w2 + b2
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    entropy = -np.log(p[np.arange(len(x)), y["kind"]])
    error = np.abs(hidden @ w3 + b3 - y["size"])[:, 0]
    kind = {"kind_raw": entropy.mean(), "size_raw": error.mean()}
    if weights is not None:
        entropy, error = entropy * weights["kind"], error * weights["size"]
    parts = {
        **kind,
        "kind": entropy.mean(),
        "size": error.mean(),
        "l2": L2 * np.square(w1).sum(),
        "l1": L1 * np.abs(w2).sum(),
        "added": ADDED * np.square(hidden).mean(),
    }
    parts["total"] = (
        factors[0] * parts["kind"] + factors[1] * parts["size"] + parts["l2"] + parts["l1"] + parts["added"]
    )
    return {key: float(value) for key, value in parts.items()}


def state_of(model: keras.Model) -> list[np.ndarray]:
    """Every number that a model, its optimizer and its metrics hold."""
    variables = [*model.variables, *model.metrics_variables, *(model.optimizer.variables if model.optimizer else [])]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
