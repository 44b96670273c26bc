"""The captured objective measured in a process of its own: with another backend, or on another number of devices.

The other process runs the script again, cut at the same captures, and is handed weights and batch as numbers. So both
measure the same thing, and whatever differs is the process's.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lossproof.lab.failure import in_words
from lossproof.lab.lab import Lab
from lossproof.lab.listen import listening
from lossproof.lab.received import Batch
from lossproof.lab.subjects import loss_subject
from lossproof.process import run_module
from lossproof.rules.rule import NotApplicable

PATIENCE = 300.0
"""Seconds that the other process may take: it imports a backend and runs the script."""
NUDGE = 1e-3
"""By how much weights are moved for the second point, relative to the largest of an array."""
HALF = float(np.sqrt(np.finfo("float32").eps))
"""Half of the digits of float32, within which the same sum in another order stays."""
PARTS = ("x", "y", "sample_weight")


@dataclass(frozen=True)
class Measured:
    """An objective at some weights, in inference mode."""

    total: float | None
    """None where it raised."""
    predictions: tuple[np.ndarray, ...] = ()
    losses: tuple[tuple[str, float], ...] = ()
    """Name and value of each `keras.losses.Loss` that it called."""
    gradients: tuple[np.ndarray, ...] = ()
    error: str | None = None
    by_targets: bool = False
    """Whether the objective is there, instead of an error, for targets of 0."""
    heard: tuple[Any, ...] = field(default=(), repr=False)
    """The calls themselves; not known of another process."""


def starts(lab: Lab) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The values of all variables as captured, and with the trainable ones moved off any point where slopes part."""
    trainable = {id(variable) for variable in lab.model.trainable}
    random = np.random.default_rng(0)
    captured, moved = [], []
    for variable, value in lab.model.state[: len(lab.model.model.variables)]:
        array = np.asarray(lab.backend.numpy(value))
        captured.append(array)
        step = NUDGE * (float(np.abs(array).max(initial=0.0)) or 1.0) if id(variable) in trainable else 0.0
        moved.append((array + step * random.uniform(-1.0, 1.0, array.shape)).astype(array.dtype) if step else array)
    return captured, moved


def measure(lab: Lab, weights: list[np.ndarray], batch: Batch, spread: bool = False) -> Measured:
    """The objective, its parts and its gradient for the trainable weights.

    Args:
        lab: Of the capture.
        weights: Values of `model.variables`.
        batch: What a step receives.
        spread: Whether weights and batch lie on all devices, as a distribution of the script lays them.
    """
    from lossproof.lab.model import Functional

    model = Functional(lab.capture.model, weights)
    if spread:
        model.__dict__["state"] = [(v, lab.backend.on_all_devices(value, False)) for v, value in model.state]
        parts = [
            None
            if data is None
            else keras.tree.map_structure(lambda leaf: lab.backend.on_all_devices(leaf, True), data)
            for data in (batch.x, batch.y, batch.sample_weight)
        ]
        batch = Batch(*parts)
    predictions: tuple[np.ndarray, ...] = ()

    def objective(given: list[Any] | None, of: Batch) -> Any:
        nonlocal predictions
        with model.scope(given):
            forward = model.forward(of.x, training=False)
            if given is None:
                predictions = tuple(lab.number(leaf) for leaf in keras.tree.flatten(forward.y_pred))
            return model.compute_loss(of, forward, training=False)

    try:
        with lab.undisturbed(), listening() as hearing:
            total = float(np.sum(lab.number(objective(None, batch))))
        losses = tuple(
            (loss_subject(one, None, None).name, float(np.sum(lab.number(one.result)))) for one in hearing.losses
        )
        with lab.undisturbed():
            _, found = lab.backend.gradient(lambda *moved: objective(list(moved), batch), model.start)
    except Exception as error:  # a backend may refuse what another computes
        zeros = keras.tree.map_structure(keras.ops.zeros_like, batch.y) if batch.y is not None else None
        there = lab.attempt(lambda: lab.number(objective(None, Batch(batch.x, zeros, batch.sample_weight))))
        return Measured(None, predictions, error=in_words(error), by_targets=there is not None)
    gradients = tuple(
        np.zeros(tuple(start.shape)) if gradient is None else lab.number(gradient)
        for gradient, start in zip(found, model.start, strict=True)
    )
    return Measured(total, predictions, losses, gradients, heard=tuple(hearing.losses))


def draws_numbers(lab: Lab) -> bool:
    """Whether the objective is another one with other states of the seed generators."""
    from lossproof.lab.backends.host import host_seed
    from lossproof.lab.model import Functional

    def total(shift: int) -> float:
        model = Functional(lab.capture.model, lab.capture.weights)
        model.__dict__["state"] = [
            (v, keras.ops.add(value, shift) if "uint" in str(keras.backend.standardize_dtype(v.dtype)) else value)
            for v, value in model.state
        ]
        with host_seed(shift), lab.undisturbed(), model.scope():
            forward = model.forward(lab.batch.x, training=False)
            return float(np.sum(lab.number(model.compute_loss(lab.batch, forward, training=False))))

    first, second = (lab.attempt(partial(total, shift)) for shift in (0, 1))
    return bool(first is not None and second is not None and first != second)


def measured_elsewhere(
    lab: Lab, backend: str, devices: int | None, weights: tuple[list[np.ndarray], ...]
) -> tuple[Measured, ...]:
    """`measure` in another process, at some weights on the captured batch.

    Args:
        lab: Of the capture.
        backend: Keras's backend of the other process.
        devices: How many devices JAX shall have there, under a distribution; None for as many as it has.
        weights: Values of `model.variables`, for each point.

    Raises:
        NotApplicable: The script cannot be run there, or does not come to the same capture.
    """
    asked = lab.run.asked
    if asked.script is None:
        raise NotApplicable("there is no script that could be run again")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arrays = {f"w{p}_{i}": array for p, point in enumerate(weights) for i, array in enumerate(point)}
        for part in PARTS:
            data = getattr(lab.batch, part)
            leaves = keras.tree.flatten(data) if data is not None else []
            arrays |= {f"{part}_{i}": np.asarray(lab.backend.numpy(leaf)) for i, leaf in enumerate(leaves)}
        np.savez(folder / "given.npz", allow_pickle=False, **arrays)
        ask = {
            "script": str(asked.script),
            "arguments": list(asked.arguments),
            "full": asked.full,
            "position": position_of(lab),
            "call": lab.capture.call,
            "line": lab.capture.where.line if lab.capture.where is not None else None,
            "points": len(weights),
            "devices": devices,
            "distribute": devices is not None and lab.backend.distribution_size() is None,
        }
        (folder / "ask.json").write_text(json.dumps(ask), encoding="utf-8")
        # On the CPU: an accelerator may be full of this process's arrays.
        environment = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
        if devices is not None:
            flags = [one for one in os.environ.get("XLA_FLAGS", "").split() if "host_platform_device_count" not in one]
            environment["XLA_FLAGS"] = " ".join([*flags, f"--xla_force_host_platform_device_count={devices}"])
        try:
            status, last = run_module("lossproof.lab.visit", folder, environment, asked.directory, PATIENCE)
        except subprocess.TimeoutExpired:
            raise NotApplicable(f"the script took longer than {PATIENCE:.0f} s on {backend}") from None
        answer = folder / "answer.json"
        if status or not answer.exists():
            raise NotApplicable(f"the script cannot be measured on {backend}: {last[:160] or 'no answer'}")
        told = json.loads(answer.read_text(encoding="utf-8"))
        if told.get("reason"):
            raise NotApplicable(f"on {backend}: {told['reason']}")
        with np.load(folder / "answer.npz") as arrived:
            return tuple(_read(one, p, arrived) for p, one in enumerate(told["points"]))


def position_of(lab: Lab) -> int:
    """Which of the captures that are judged this one is, counted from 0."""
    from lossproof.audit import worth_auditing

    return next((i for i, one in enumerate(worth_auditing(lab.run)) if one is lab.capture), 0)


def _read(told: dict[str, Any], point: int, arrays: Any) -> Measured:
    def all_of(kind: str) -> tuple[np.ndarray, ...]:
        return tuple(arrays[f"{kind}{point}_{i}"] for i in range(told[kind]))

    return Measured(
        told["total"],
        all_of("p"),
        tuple((name, value) for name, value in told["losses"]),
        all_of("g"),
        told["error"],
        told["by_targets"],
    )
