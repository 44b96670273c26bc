"""What `lossproof.Ledger` costs: the time of a step in `fit` with it over that without, in one run, taken in turns.

    KERAS_BACKEND=jax python benchmarks/ledger.py [--models mlp,cnn] [--steps 600] [--repeats 5]

Three fits of the same compiled model alternate: without a ledger, with the default one, and with gradients at their
default interval. Each is a whole number of intervals long and preceded by a fit with the same callback that is not timed,
in which everything is compiled. The ratio is that of the medians. What the compilation of the account takes, once, is
printed apart, in seconds. The plain fit is timed twice in every turn: how far the two differ is the noise of the machine.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

import lossproof as lp

BATCH = 64


def mlp() -> tuple[Any, Any, Any]:
    """Two outputs, a regularizer, dropout; 32 -> 512 -> 512."""
    inputs = keras.Input((32,))
    hidden = layers.Dense(512, activation="relu", kernel_regularizer="l2")(inputs)
    hidden = layers.Dropout(0.2)(layers.Dense(512, activation="relu")(hidden))
    outputs = {"kind": layers.Dense(10, name="kind")(hidden), "size": layers.Dense(1, name="size")(hidden)}
    model = keras.Model(inputs, outputs)
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", {"kind": crossentropy, "size": "mse"}, loss_weights={"kind": 1.0, "size": 0.3})
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * 100, 32)).astype("float32")
    return model, x, {"kind": rng.integers(0, 10, len(x)), "size": rng.normal(size=(len(x), 1)).astype("float32")}


def cnn() -> tuple[Any, Any, Any]:
    """A small convolutional network on 28 x 28 images, with batch normalization and a regularizer."""
    inputs = keras.Input((28, 28, 1))
    hidden = layers.Conv2D(16, 3, activation="relu", kernel_regularizer="l2")(inputs)
    hidden = layers.BatchNormalization()(layers.Conv2D(32, 3, strides=2, activation="relu")(hidden))
    model = keras.Model(inputs, layers.Dense(10)(layers.Flatten()(hidden)))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * 50, 28, 28, 1)).astype("float32")
    return model, x, rng.integers(0, 10, len(x))


MODELS: dict[str, Callable[[], tuple[Any, Any, Any]]] = {"mlp": mlp, "cnn": cnn}


def seconds(model: Any, x: Any, y: Any, steps: int, callbacks: list[Any]) -> float:
    """Of one fit."""
    per_epoch = len(x) // BATCH
    began = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, epochs=max(steps // per_epoch, 1), verbose=0, callbacks=callbacks)
    return time.perf_counter() - began


def measure(name: str, steps: int, repeats: int) -> str:
    """One row of the table."""
    model, x, y = MODELS[name]()
    folder = Path(tempfile.mkdtemp())
    try:
        seconds(model, x, y, 1, [])
        kinds = {
            "plain": [],
            "default": [lp.Ledger(folder / "a")],
            "gradients": [lp.Ledger(folder / "b", gradients=True)],
            "again": [],
        }
        first = {}
        for kind in ("default", "gradients"):  # a first account, and the program that it takes
            probe = lp.Ledger(folder / kind, every=1, gradients=1 if kind == "gradients" else False)
            first[kind] = seconds(model, x, y, 1, [probe]) - seconds(model, x, y, 1, [])
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(repeats):
            for kind, callbacks in kinds.items():
                times[kind].append(_timed(model, x, y, steps, callbacks))
        middle = {kind: statistics.median(one) for kind, one in times.items()}
        step = 1000 * middle["plain"] / steps
        return (
            f"| {name} | {keras.backend.backend()} | {step:.2f} ms | {middle['again'] / middle['plain']:.3f} "
            f"| {middle['default'] / middle['plain']:.3f} | {middle['gradients'] / middle['plain']:.3f} |"
        )
    finally:
        shutil.rmtree(folder)


def _timed(model: Any, x: Any, y: Any, steps: int, callbacks: list[Any]) -> float:
    """Without what is done once in a `fit`: the time from the end of the first epoch to that of the last."""
    stamps: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: stamps.append(time.perf_counter()))
    per_epoch = len(x) // BATCH
    epochs = max(steps // per_epoch, 1) + 1
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[*callbacks, clock])
    return stamps[-1] - stamps[0]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="mlp,cnn")
    parser.add_argument("--steps", type=int, default=600, help="a multiple of the intervals and of the epochs' steps")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print("| model | backend | a step | plain again | Ledger() | Ledger(gradients=True) |")
    print("|---|---|---|---|---|---|")
    for name in options.models.split(","):
        print(measure(name, options.steps, options.repeats), flush=True)


if __name__ == "__main__":
    main()
