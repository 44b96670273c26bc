"""Trains the network by hand of tests/objective/weighting on two replicas: `python replicated.py OUT [RANK PORT]`.

TensorFlow and JAX see two devices in one process, torch has two processes, of which this is number RANK. The weights after
training are written to OUT, an .npz with one entry per objective, and the logs to OUT + ".json".
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "weighting"))

if os.environ["KERAS_BACKEND"] == "jax":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import by_hand
import keras
import numpy as np

from lossproof.objective import weighting
from lossproof.objective.objective import Objective
from lossproof.objective.term import Term
from lossproof.objective.trainer import Trainer

EPOCHS = 3
OBJECTIVES: dict[str, Callable[[], Any]] = {
    "plain": lambda: None,
    "Uncertainty": lambda: weighting.Uncertainty(initial={"first": 0.5, "second": 2.0}),
    "GeometricMean": weighting.GeometricMean,
    "UPGrad": weighting.UPGrad,
    "GradNorm": lambda: weighting.GradNorm(alpha=0.5, learning_rate=0.05, shared="trunk"),
}


def trainer_of(strategy: Any) -> Trainer:
    terms = [Term("mse", output=output, target=output, name=name) for name, output in (("first", "a"), ("second", "d"))]
    trainer = Trainer(by_hand.network(), Objective(terms, weighting=strategy))
    trainer.compile(keras.optimizers.SGD(by_hand.RATE))
    return trainer


def fit(trainer: Trainer, rows: np.ndarray, batch_size: int) -> Any:
    y = {name: one[rows] for name, one in by_hand.Y.items()}
    return trainer.fit(by_hand.X[rows], y, batch_size=batch_size, shuffle=False, epochs=EPOCHS, verbose=0).history


def on_tensorflow(make: Callable[[], Any]) -> tuple[Trainer, Any]:
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        trainer = trainer_of(make())
    return trainer, fit(trainer, np.arange(by_hand.ROWS), by_hand.BATCH)


def on_jax(make: Callable[[], Any]) -> tuple[Trainer, Any]:
    trainer = trainer_of(make())
    return trainer, fit(trainer, np.arange(by_hand.ROWS), by_hand.BATCH)


def on_torch(make: Callable[[], Any], rank: int) -> tuple[Trainer, Any]:
    trainer = trainer_of(make())
    if rank:  # a process that starts from other weights is given those of the first
        trainer.model.set_weights([one + 1 for one in trainer.model.get_weights()])
    half = by_hand.BATCH // 2
    own = np.arange(by_hand.ROWS).reshape(-1, 2, half)[:, rank].reshape(-1)
    return trainer, fit(trainer, own, half)


def wrapped(rank: int) -> np.ndarray:
    """The plain objective in a loop of torch's own, the Trainer wrapped by DistributedDataParallel."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    trainer = trainer_of(None)
    together = DistributedDataParallel(trainer)
    optimizer = torch.optim.SGD(trainer.parameters(), lr=by_hand.RATE)
    half = by_hand.BATCH // 2
    for _, *batch in by_hand.batches(EPOCHS):
        x, y_a, y_d = (torch.tensor(one[rank * half : (rank + 1) * half], dtype=torch.float32) for one in batch)
        optimizer.zero_grad()
        y_pred = together(x)
        trainer.compute_loss(x, {"a": y_a, "d": y_d}, y_pred).backward()
        optimizer.step()
    return by_hand.weights_of(trainer.model)


def main(out: str, rank: int = 0, port: int = 0) -> None:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        runs = {name: on_tensorflow(make) for name, make in OBJECTIVES.items()}
    elif backend == "jax":
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        runs = {name: on_jax(make) for name, make in OBJECTIVES.items()}
        kernel = runs["plain"][0].model.get_layer("trunk").kernel.value
        assert len(kernel.sharding.device_set) == 2, kernel.sharding
    else:
        import torch

        torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
        runs = {name: on_torch(make, rank) for name, make in OBJECTIVES.items()}
    weights = {name: by_hand.weights_of(trainer.model) for name, (trainer, _) in runs.items()}
    if backend == "torch":
        weights["wrapped"] = wrapped(rank)
        torch.distributed.destroy_process_group()
    np.savez(out, **weights)
    Path(f"{out}.json").write_text(json.dumps({name: history for name, (_, history) in runs.items()}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
