"""What `lossproof.Ledger` costs: the time of a step in `fit` with it over that without.

    KERAS_BACKEND=jax python benchmarks/ledger.py [--models tiny,mlp,cnn] [--rounds 60] [--steps 2400]

An account is far too cheap to be seen in a whole training on a busy machine, so it is measured where it can be: within
one `fit`, blocks of 10 steps follow each other in turn: plain, with one account, plain again, with one account with
gradients. What a block takes more than the plain one before it is the cost of an account, with everything that it slows
down around it; the median over the rounds is taken, of the processor time and of the clock. The two plain blocks of a
round, compared in the same way, are the noise. Then a `fit` with `Ledger()` and one with `Ledger(gradients=True)` show at
which intervals they keep their accounts by default. The ratio is 1 + cost / (interval * step). What the first accounts
take, which are traced and compiled, stands apart.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

import lossproof as lp
from lossproof.lab.backends import running_backend

BATCH = 64
BLOCK = 10
"""Steps."""


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


def tiny() -> tuple[Any, Any, Any]:
    """The least work that a step can be: 8 -> 16 -> 1."""
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(1)(layers.Dense(16, activation="relu")(inputs)))
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(BATCH * 100, 8)).astype("float32")
    return model, x, x[:, :1]


MODELS: dict[str, Callable[[], tuple[Any, Any, Any]]] = {"tiny": tiny, "mlp": mlp, "cnn": cnn}


class Switched(lp.Ledger):
    """A ledger that keeps an account when it is told to."""

    on = False

    def around(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """See `Ledger`."""
        if self.on:
            return super().around(arguments)
        self._step += self._many
        return arguments


class Blocks(keras.callbacks.Callback):
    """Takes the time of blocks of steps, in some of which a ledger keeps an account."""

    def __init__(self, plain: Switched, deep: Switched) -> None:
        super().__init__()
        self.ledgers: tuple[Switched | None, ...] = (None, plain, None, deep)
        self.stamps: list[tuple[float, float]] = []
        self.count = 0
        self.first: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Stand before the ledgers."""
        model = self.model
        inner = model.train_function
        backend = running_backend()

        def settle(arguments: tuple[Any, ...]) -> None:
            values = arguments[0][2] if backend.name == "jax" else model.optimizer.variables
            backend.numpy(values[0] if backend.name == "jax" else values[0].value)

        def function(*arguments: Any) -> Any:
            block, step = divmod(self.count, BLOCK)
            self.count += 1
            if step == 0:
                settle(arguments)
                self.stamps.append((time.process_time(), time.perf_counter()))
            ledger = self.ledgers[block % len(self.ledgers)]
            if ledger is not None:
                ledger.on = step == BLOCK // 2
            began = time.perf_counter()
            result = inner(*arguments)
            if ledger is not None and ledger.on:
                ledger.on = False
                self.first.append(time.perf_counter() - began)
            return result

        model.train_function = function

    def costs(self) -> dict[str, list[float]]:
        """Medians over the rounds, for the processor time and the clock, in seconds: of a step, and of what is added."""
        taken = np.diff(np.asarray(self.stamps), axis=0)
        rounds = taken[: len(taken) // 4 * 4].reshape(-1, 4, 2)[1:]  # in the first one everything is compiled
        step = np.median(rounds[:, [0, 2]].reshape(-1, 2), axis=0) / BLOCK
        found = {"step": step}
        for name, k in (("plain again", 2), ("account", 1), ("with gradients", 3)):
            found[name] = np.median(rounds[:, k] - rounds[:, k - 1 if k != 2 else 0], axis=0)
        return {name: list(value) for name, value in found.items()}


def intervals(model: Any, x: Any, y: Any, steps: int, folder: Path) -> list[int]:
    """The steps between the last accounts of `Ledger()`, and of those with gradients of `Ledger(gradients=True)`."""
    found = []
    for gradients in (False, True):
        ledger = lp.Ledger(folder / f"default-{gradients}", gradients=gradients)
        model.fit(x, y, batch_size=BATCH, epochs=max(steps // (len(x) // BATCH), 1), verbose=0, callbacks=[ledger])
        kept = [one.step for one in ledger.entries if one.step is not None and (one.gradients is not None) == gradients]
        found.append(kept[-1] - kept[-2] if len(kept) > 2 else steps)
    return found


def measure(name: str, rounds: int, steps: int) -> str:
    """One row of the table."""
    model, x, y = MODELS[name]()
    folder = Path(tempfile.mkdtemp())
    try:
        model.fit(x, y, batch_size=BATCH, verbose=0)
        ledgers = [Switched(folder / "plain", every=1), Switched(folder / "deep", every=10**9, gradients=1)]
        blocks = Blocks(*ledgers)
        epochs = -(-rounds * 4 * BLOCK // (len(x) // BATCH))
        model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[*ledgers, blocks])
        cost = blocks.costs()
        chosen = intervals(model, x, y, steps, folder)
        cells = [f"{1000 * cost['step'][0]:.2f} ms"]
        for k in range(2):  # processor time, clock
            plain, deep = (cost[one][k] / cost["step"][k] for one in ("account", "with gradients"))
            noise = abs(cost["plain again"][k] / cost["step"][k])
            cells += [
                f"{plain:.1f} ± {noise:.1f}",
                f"{deep:.1f}",
                f"{1 + plain / chosen[0]:.3f}",
                f"{1 + plain / chosen[0] + deep / chosen[1]:.3f}",
            ]
        cells += [f"{chosen[0]}, {chosen[1]}", f"{blocks.first[0]:.1f} s, {blocks.first[1]:.1f} s"]
        return f"| {name} | {keras.backend.backend()} | {' | '.join(cells)} |"
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="tiny,mlp,cnn")
    parser.add_argument("--rounds", type=int, default=60, help="of four blocks each (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=2400, help="of the fits with the defaults (default: %(default)s)")
    options = parser.parse_args()
    kinds = ["an account, steps", "with gradients", "Ledger()", "Ledger(gradients=True)"]
    heads = [*(f"{one} (processor)" for one in kinds), *(f"{one} (clock)" for one in kinds)]
    heads = ["model", "backend", "a step", *heads, "intervals", "first accounts"]
    print(f"| {' | '.join(heads)} |")
    print("|" + "---|" * len(heads))
    for name in options.models.split(","):
        print(measure(name, options.rounds, options.steps), flush=True)


if __name__ == "__main__":
    main()
