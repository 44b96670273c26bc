"""A network with a trunk and two heads, its gradients worked out by hand, and the loops of the papers around it, in NumPy.

h = tanh(x W + b),  a = h A + c,  d = h D + e
L_1 = mean((a - y_a)^2),  L_2 = mean((d - y_d)^2),  added: LAMBDA * sum(W^2)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

LAMBDA = 0.01
RATE = 0.1
ROWS, BATCH = 12, 4
RNG = np.random.default_rng(11)
X = RNG.normal(size=(ROWS, 5)).astype("float32")
Y = {
    "a": (X[:, :1] * X[:, 1:2] - 0.5).astype("float32"),
    "d": np.stack([np.sin(X[:, 2]), -X[:, 0] * X[:, 1]], axis=1).astype("float32"),
}
SHAPES = [(5, 6), (6,), (6, 1), (1,), (6, 2), (2,)]
START = [RNG.normal(size=shape).astype("float32") * 0.6 for shape in SHAPES]
TRUNK = slice(0, 36)


def network() -> keras.Model:
    """The network as a Keras model, with the weights START."""
    x = keras.Input((5,), name="x")
    h = keras.layers.Dense(6, "tanh", kernel_regularizer=keras.regularizers.L2(LAMBDA), name="trunk")(x)
    outputs = {"a": keras.layers.Dense(1, name="a")(h), "d": keras.layers.Dense(2, name="d")(h)}
    model = keras.Model(x, outputs, name="network")
    for name, k in (("trunk", 0), ("a", 2), ("d", 4)):
        model.get_layer(name).set_weights(START[k : k + 2])
    return model


def weights_of(model: keras.Model) -> np.ndarray:
    """All its weights as one vector, in the order of SHAPES."""
    kept = [w for name in ("trunk", "a", "d") for w in model.get_layer(name).get_weights()]
    return np.concatenate([w.reshape(-1) for w in kept]).astype("float64")


def batches(epochs: int) -> Iterator[tuple[bool, np.ndarray, np.ndarray, np.ndarray]]:
    """(an epoch begins, x, y_a, y_d) of each step, float64."""
    for _ in range(epochs):
        for k in range(0, ROWS, BATCH):
            rows = slice(k, k + BATCH)
            yield k == 0, *(one[rows].astype("float64") for one in (X, Y["a"], Y["d"]))


def measure(
    w: np.ndarray, x: np.ndarray, y_a: np.ndarray, y_d: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two values, their gradients (2, P) and the gradient of the added loss (P,) at the weights `w`."""
    parts = np.split(w, np.cumsum([np.prod(shape) for shape in SHAPES])[:-1])
    kernel, bias, to_a, bias_a, to_d, bias_d = (p.reshape(shape) for p, shape in zip(parts, SHAPES, strict=True))
    h = np.tanh(x @ kernel + bias)
    rows = []
    values = []
    for number, (head, offset, y) in enumerate(((to_a, bias_a, y_a), (to_d, bias_d, y_d))):
        error = h @ head + offset - y
        values.append((error**2).mean())
        above = 2 * error / error.size
        inside = above @ head.T * (1 - h**2)
        own = [h.T @ above, above.sum(axis=0)]
        other = [np.zeros_like(to_d if number == 0 else to_a), np.zeros_like(bias_d if number == 0 else bias_a)]
        heads = own + other if number == 0 else other + own
        rows.append(np.concatenate([one.reshape(-1) for one in (x.T @ inside, inside.sum(axis=0), *heads)]))
    added = np.zeros_like(w)
    added[: kernel.size] = 2 * LAMBDA * kernel.reshape(-1)
    return np.array(values), np.array(rows), added


Combine = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass
class Loop:
    """Plain gradient descent, with a function of (gradients, values) that gives the combined gradient of the terms.

    `begin` is called when an epoch begins.
    """

    combine: Combine
    begin: Callable[[], None] = lambda: None
    accumulate: int = 1

    def run(self, epochs: int) -> np.ndarray:
        w = np.concatenate([one.reshape(-1) for one in START]).astype("float64")
        kept: list[np.ndarray] = []
        for first, *batch in batches(epochs):
            if first:
                self.begin()
            values, rows, added = measure(w, *batch)
            kept.append(self.combine(rows, values) + added)
            if len(kept) == self.accumulate:
                w = w - RATE * np.mean(kept, axis=0)
                kept = []
        return w


def gradient_check() -> float:
    """The largest difference of the gradients by hand from numeric ones."""
    w = np.concatenate([one.reshape(-1) for one in START]).astype("float64")
    batch: Any = next(iter(batches(1)))[1:]
    _, rows, _ = measure(w, *batch)
    numeric = np.stack(
        [(measure(w + 1e-6 * e, *batch)[0] - measure(w - 1e-6 * e, *batch)[0]) / 2e-6 for e in np.eye(w.size)]
    )
    return float(np.abs(numeric.T - rows).max())
