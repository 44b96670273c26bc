"""Two replicas train to the weights of one device with the same global batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..weighting import by_hand
from ..weighting.loops import LOOPS

SCRIPT = Path(__file__).with_name("replicated.py")
EPOCHS = 3
NAMES = ["plain", "Uncertainty", "GeometricMean", "UPGrad", "GradNorm"]


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, np.ndarray]], dict[str, Any]]:
    """What each process trained to, and the logs of the first; on TensorFlow and JAX there is one process."""
    folder = tmp_path_factory.mktemp("replicas")
    count = 2 if os.environ["KERAS_BACKEND"] == "torch" else 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outs = [folder / f"{rank}.npz" for rank in range(count)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(out), *([str(rank), str(port)] if count > 1 else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    try:
        printed = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all(process.returncode == 0 for process in processes), "\n".join(printed)[-4000:]
    logs = json.loads(outs[0].with_name("0.npz.json").read_text(encoding="utf-8"))
    return [dict(np.load(out)) for out in outs], logs


def by_one(name: str) -> np.ndarray:
    """The weights after the loop in NumPy over the whole batches."""
    loop = LOOPS[name][1]() if name in LOOPS else by_hand.Loop(lambda rows, _: rows.sum(axis=0))
    return loop.run(EPOCHS)


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_those_of_one_device(name: str, replicas: Any) -> None:
    for weights in replicas[0]:
        np.testing.assert_allclose(weights[name], by_one(name), atol=2e-5)


@pytest.mark.backend("torch")
def test_a_trainer_wrapped_by_ddp_trains_in_a_loop_of_torch(replicas: Any) -> None:
    for weights in replicas[0]:
        np.testing.assert_allclose(weights["wrapped"], by_one("plain"), atol=2e-5)


@pytest.mark.backend("tensorflow", "jax")
@pytest.mark.parametrize("name", ["plain", "UPGrad"])
def test_the_logs_are_those_of_the_global_batch(name: str, replicas: Any) -> None:
    """The mean over the first epoch's steps of what the loop by hand measures."""
    w = np.concatenate([one.reshape(-1) for one in by_hand.START]).astype("float64")
    combine = (LOOPS[name][1]() if name in LOOPS else by_hand.Loop(lambda rows, _: rows.sum(axis=0))).combine
    seen, losses = [], []
    for _, *batch in by_hand.batches(1):
        values, rows, added = by_hand.measure(w, *batch)
        kernel = w[: by_hand.START[0].size]
        seen.append(values)
        losses.append(values.sum() + by_hand.LAMBDA * (kernel**2).sum())
        w = w - by_hand.RATE * (combine(rows, values) + added)
    logs = replicas[1][name]
    np.testing.assert_allclose([logs["first"][0], logs["second"][0]], np.mean(seen, axis=0), rtol=1e-4)
    assert logs["loss"][0] == pytest.approx(np.mean(losses), rel=1e-4)
