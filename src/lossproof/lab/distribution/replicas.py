"""The objective on the replicas or devices that the script trains on, or on simulated ones, against one device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.capture.batch import count_rows
from lossproof.lab.backends import running_backend
from lossproof.lab.elsewhere import HALF, draws_numbers, measure, measured_elsewhere, starts
from lossproof.lab.lab import Lab
from lossproof.lab.minimised import minimised
from lossproof.lab.noise import differs
from lossproof.lab.received import Batch
from lossproof.lab.replace import replaced
from lossproof.lab.step import rehearsed
from lossproof.lab.subject import LossSubject, Subject, take
from lossproof.lab.subjects import loss_subject
from lossproof.rules.rule import NotApplicable

SIMULATED = 2
"""Replicas that are simulated where the script's strategy has one: each part of the batch in turn, with code that asks
being told this number."""


@dataclass(frozen=True)
class ReplicaScaling:
    """An objective whose size depends on how many replicas share the batch."""

    replicas: int
    real: bool
    """Whether the script's own strategy has them; else two were simulated."""
    split: float
    """What the replicas minimise together when each has its part of the batch: the sum over them."""
    same: float | None
    """The same when each has the whole batch; None on JAX, where the devices share one program and one batch."""
    single: float
    """The objective of the whole batch on one device."""
    subject: Subject | None
    """The loss that is not scaled; None where it is the user's own compute_loss or train_step."""
    scalar: bool
    """Whether that loss is one number for the batch."""


def replica_scaling(lab: Lab) -> ReplicaScaling | None:
    """The proof that the objective grows with the number of replicas; None where it does not.

    The gradients of the replicas are summed, so together they minimise the sum of what each computes. That must be the
    objective of the batch, both when they share it and, for an average, when each has all of it. Where either holds,
    nothing is said: a sum over the samples is right when the batch is shared.

    Raises:
        NotApplicable: The script uses no strategy or distribution, and nobody asked for replicas.
    """
    backend = lab.backend
    asked = lab.run.asked.replicas
    if backend.name == "torch":
        raise NotApplicable("with PyTorch, Keras trains on one device")
    if backend.name == "jax":
        return _of_devices(lab, asked)
    strategy = backend.strategy_of(lab.capture.model)
    if strategy is None and asked is None:
        raise NotApplicable("one replica")
    real = int(strategy.num_replicas_in_sync) if strategy is not None else 1
    replicas = real if real > 1 else asked or SIMULATED
    run = partial(_on_devices, strategy) if real > 1 else partial(_in_turn, lab, replicas)
    batch = lab.batch
    rows = (count_rows(batch.x) or 0) // replicas * replicas
    if rows < replicas:
        raise NotApplicable("the batch has fewer rows than there are replicas")
    whole = _rows(batch, np.arange(rows))
    parts = [_rows(batch, part) for part in np.split(np.arange(rows), replicas)]
    total = _of_step if lab.overrides_train_step else _of_objective
    _ = lab.model.state
    single = _summed(lab, lambda function: function(0), total, [whole])
    same = _summed(lab, run, total, [whole] * replicas)
    split = _summed(lab, run, total, parts)
    values = (single, same, split)
    if not np.isfinite(values).all() or _summed(lab, lambda function: function(0), total, [whole]) != single:
        return None
    if not _is_multiple(same, single, replicas) or not differs(split, single, terms=rows, scale=single):
        return None
    culprit = None if lab.overrides_train_step else _culprit(lab, run, replicas)
    scalar = culprit is not None and lab.unreduced(culprit).ndim == 0
    return ReplicaScaling(replicas, real > 1, split, same, single, culprit, scalar)


def _of_devices(lab: Lab, asked: int | None) -> ReplicaScaling | None:
    """On JAX: the objective where the script finds several devices, against one; in a process that has so many.

    One program computes the objective of the whole batch, wherever its rows lie, so the two must agree.
    """
    size = lab.backend.distribution_size()
    if size is None and asked is None:
        raise NotApplicable("one replica")
    if lab.overrides_train_step:
        raise NotApplicable("the objective of a train_step is not measured on other devices")
    if draws_numbers(lab):
        raise NotApplicable("the objective draws random numbers")
    real = (size or 1) > 1
    replicas = size if size is not None and real else asked or SIMULATED
    weights = starts(lab)[0]
    here = measure(lab, weights, lab.batch, spread=real)
    (there,) = measured_elsewhere(lab, "jax", 1 if real else replicas, (weights,))
    many, single = (here, there) if real else (there, here)
    if many.total is None or single.total is None:
        raise NotApplicable(f"the objective cannot be computed: {many.error or single.error}")
    if not abs(many.total - single.total) > HALF * max(abs(many.total), abs(single.total)):
        return None
    culprit: Subject | None = lab.objective
    for heard, one, other in zip(here.heard, here.losses, there.losses, strict=False):
        if culprit is None and abs(one[1] - other[1]) > HALF * max(abs(one[1]), abs(other[1])):
            culprit = loss_subject(heard, None, None)
    return ReplicaScaling(replicas, real, many.total, None, single.total, culprit, False)


def _rows(batch: Batch, rows: np.ndarray) -> Batch:
    return Batch(*(take(data, rows) for data in (batch.x, batch.y, batch.sample_weight)))


def _is_multiple(same: float, single: float, replicas: int) -> bool:
    return abs(single) > 0 and not differs(same, replicas * single, terms=64)


def _of_objective(lab: Lab, batch: Batch) -> float:
    with lab.model.scope():
        return float(np.sum(lab.number(lab.model.compute_loss(batch, lab.model.forward(batch.x)))))


def _of_step(lab: Lab, batch: Batch) -> float:
    """The sum of what a step of the user's differentiates."""
    losses: list[float] = []
    parts = [batch.x, batch.y, batch.sample_weight]
    while len(parts) > 1 and parts[-1] is None:
        parts.pop()

    def note(value: Any) -> None:
        losses.append(float(np.sum(lab.number(value))))

    (owner, name, make), *_ = lab.backend.differentiation(note)
    with replaced(owner, name, make):
        lab.capture.model.train_step(tuple(parts) if len(parts) > 1 else parts[0])
    return sum(losses)


Run = Callable[[Callable[[int], None]], None]
"""Runs a function once on each replica, with its number."""


def _on_devices(strategy: Any, function: Callable[[int], None]) -> None:
    strategy.run(lambda: function(running_backend().replica()))


def _in_turn(lab: Lab, replicas: int, function: Callable[[int], None]) -> None:
    with lab.backend.simulated_replicas(replicas):
        for number in range(replicas):
            function(number)


def _summed(lab: Lab, run: Run, total: Callable[[Lab, Batch], float], batches: list[Batch]) -> float:
    values: list[float] = []
    with rehearsed(lab.model) if total is _of_step else nullcontext():
        run(lambda number: values.append(total(lab, batches[number])))
    return sum(values)


def _culprit(lab: Lab, run: Run, replicas: int) -> Subject | None:
    """The loss that gives each replica the value of one device."""
    for subject in lab.once(minimised):
        if isinstance(subject, LossSubject):
            values: list[float] = []
            run(partial(_noted, lab, subject, values))
            if _is_multiple(sum(values), lab.value(subject), replicas):
                return subject
    return lab.objective


def _noted(lab: Lab, subject: Subject, values: list[float], _: int) -> None:
    values.append(float(np.sum(lab.number(keras.ops.convert_to_tensor(subject.total())))))
