"""An epoch of training as `fit` would run it from the captured weights, with everything put back afterwards.

Each step is Keras's own `train_step` with the user's optimizer and real updates. It shows what the bar says at each
batch, and what `evaluate` says afterwards of the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof.lab.backends import running_backend
from lossproof.lab.lab import Lab
from lossproof.lab.received import Batch
from lossproof.lab.step import jax_state, restored

SECONDS = 4.0
"""After this long no further batch is trained on."""
LEAST = 4
"""So many are, however long they take."""


@dataclass(frozen=True)
class Rehearsal:
    """The batches of an epoch, in order."""

    losses: tuple[float, ...]
    """The loss of each batch alone, at the weights that it met, as the step reports it."""
    rows: tuple[int, ...]
    evaluated: float
    """What `evaluate` says of the same batches at the weights in the end."""

    @property
    def average(self) -> float:
        """What the bar shows after the last batch: each batch counts as often as it has rows."""
        return float(np.average(self.losses, weights=self.rows))


def rehearse(lab: Lab, batches: Sequence[Batch], held: Sequence[Batch]) -> Rehearsal:
    """Train on some batches with Keras's own step, evaluate on them, and put everything back.

    Args:
        lab: The laboratory.
        batches: As the steps of `fit` receive them.
        held: The same, as those of `evaluate` do, which knows no class weights.

    Raises:
        Exception: Whatever the step raises.
    """
    losses: list[float] = []
    rows: list[int] = []
    began = None
    with running_backend().repeatable(), restored(lab.model):
        runner = runner_of(lab)
        for batch in batches:
            losses.append(runner.train(batch))
            rows.append(rows_of(batch))
            if began is None:
                began = time.perf_counter()  # what the first step compiles does not count
            elif len(losses) >= LEAST and time.perf_counter() - began > SECONDS:
                break
        tested = [runner.test(batch) for batch in held[: len(losses)]]
    return Rehearsal(tuple(losses), tuple(rows), float(np.average(tested, weights=rows)))


def rows_of(batch: Batch) -> int:
    """Rows of a batch, as Keras counts them: those of the first of its inputs."""
    leaves = [leaf for leaf in keras.tree.flatten(batch.x) if leaf is not None and len(leaf.shape)]
    return int(leaves[0].shape[0]) if leaves else 1


class Runner:
    """Steps of TensorFlow and torch, which update the variables in place."""

    state: tuple[list[Any], ...] | None = None
    """On JAX, what the next step receives."""

    def __init__(self, lab: Lab) -> None:
        self.model = lab.capture.model
        self.number = lab.number

    def train(self, batch: Batch) -> float:
        """One step; the loss that it reports of the batch."""
        self.model.reset_metrics()
        return self._loss(self.model.train_step(data_of(batch)))

    def test(self, batch: Batch) -> float:
        """What `evaluate` says of the batch."""
        self.model.reset_metrics()
        return self._loss(self.model.test_step(data_of(batch)))

    def _loss(self, logs: Any) -> float:
        return float(np.sum(self.number(logs["loss"])))


class _Stateless(Runner):
    """Steps of JAX, which hand the state on; compiled, as one by one their operations take too long."""

    state: tuple[list[Any], ...]

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.model.reset_metrics()
        self.state = jax_state(self.model)
        self.fresh = self.state[3]
        self.steps = [lab.backend.stages(step, "jit") for step in (self.model.train_step, self.model.test_step)]

    def train(self, batch: Batch) -> float:
        logs, state = self.steps[0]((*self.state[:3], self.fresh), data_of(batch))
        self.state = tuple(state)
        return self._loss(logs)

    def test(self, batch: Batch) -> float:
        logs, _ = self.steps[1]((self.state[0], self.state[1], self.fresh), data_of(batch))
        return self._loss(logs)


def runner_of(lab: Lab) -> Runner:
    """What makes the steps; within `restored`."""
    return _Stateless(lab) if lab.backend.name == "jax" else Runner(lab)


def data_of(batch: Batch) -> Any:
    """What a step takes."""
    return (batch.x, batch.y, batch.sample_weight)
