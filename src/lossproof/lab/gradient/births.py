"""The expression in which a NaN or Inf is born, in the value or in the derivative."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import quiet
from lossproof.lab.gradient.trouble import Kind
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.localize.queries import first_nonfinite
from lossproof.lab.localize.recorder import trace
from lossproof.lab.predictions import float_leaves, tensor_like, with_float_leaves
from lossproof.lab.received import Batch
from lossproof.lab.replace import replaced
from lossproof.lab.subject import Subject


def birth_of_value(lab: Lab, subject: Subject) -> Event | None:
    """The first expression of the user's code with a non-finite value though its operands are finite."""

    def experiment() -> Event | None:
        with quiet(lab):
            return first_nonfinite(lab.trace(subject), lab.number)

    found: Event | None = lab.attempt(experiment)
    return found


def birth_of_gradient(lab: Lab, subject: Subject) -> Event | None:
    """The first expression of the user's code with a non-finite derivative though those of its operands are finite.

    The derivative is taken forward, along random directions, so that every intermediate value has one. What a `where`
    hides from the result shows as well.
    """
    leaves = float_leaves(lab, subject)
    random = np.random.default_rng(0)
    directions = [tensor_like(lab, random.uniform(0.5, 1.5, size=tuple(leaf.shape)), leaf) for leaf in leaves]

    def run(duals: list[Tensor], derivative: Any) -> Event | None:
        def tangent(leaf: Any) -> np.ndarray:
            found = derivative(leaf)
            return np.zeros(()) if found is None else found

        return first_nonfinite(lab.trace(with_float_leaves(lab, subject, duals)), tangent)

    def experiment() -> Event | None:
        with quiet(lab), lab.backend.lenient_conversions():
            event: Event | None = lab.backend.forward_mode(run, leaves, directions)
        return event

    found: Event | None = lab.attempt(experiment) if leaves else None
    return found or birth_of_value(lab, subject)


def birth_in_model(lab: Lab, batch: Batch, kind: Kind) -> Event | None:
    """The same in a custom `train_step`, or in the code of the user's own layers."""
    if lab.step is not None:
        step = lab.step.changed(x=batch.x, y_true=batch.y, sample_weight=batch.sample_weight)
        return birth_of_value(lab, step) if kind == "value" else None
    random = np.random.default_rng(0)
    directions = [tensor_like(lab, random.uniform(0.5, 1.5, size=tuple(w.shape)), w) for w in lab.model.start]

    def run(weights: list[Tensor], derivative: Any) -> Event | None:
        def read(leaf: Any) -> np.ndarray:
            if kind == "value":
                return lab.number(leaf)
            found = derivative(leaf)
            return np.zeros(()) if found is None else found

        with lab.model.scope(weights):
            return _in_layers(lab, batch, read)

    def experiment() -> Event | None:
        with quiet(lab), lab.backend.lenient_conversions():
            if kind == "value":
                return run(lab.model.start, None)
            event: Event | None = lab.backend.forward_mode(run, lab.model.start, directions)
        return event

    event: Event | None = lab.attempt(experiment)
    return event


def _in_layers(lab: Lab, batch: Batch, read: Callable[[Any], np.ndarray]) -> Event | None:
    """The expression in the code of the first layer whose output is not finite though its inputs are."""
    events: list[Event] = []

    def sound(data: Any) -> bool:
        leaves = [leaf for leaf in keras.tree.flatten(data) if lab.backend.is_tensor(leaf)]
        return all(bool(np.isfinite(read(leaf)).all()) for leaf in leaves)

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(layer, *args, **kwargs)
            if not events and sound((args, kwargs)) and not sound(result):
                function = layer.function if isinstance(layer, keras.layers.Lambda) else layer.call
                taken = inspect.signature(function).parameters  # Keras passes `training` and `mask` to those that ask
                event = first_nonfinite(trace(function, *args, **{k: v for k, v in kwargs.items() if k in taken}), read)
                if event is not None:
                    events.append(event)
            return result

        return call

    with replaced(keras.layers.Layer, "__call__", make):
        lab.model.forward(batch.x)
    return events[0] if events else None


def numbers_at(lab: Lab, subject: Subject) -> dict[str, np.ndarray]:
    """The single target and prediction tensors of a subject, as numbers."""
    arrays = {}
    for name, data in (("y_true", subject.y_true), ("y_pred", subject.y_pred)):
        leaves = [leaf for leaf in keras.tree.flatten(data) if lab.backend.is_tensor(leaf)]
        if len(leaves) == 1:
            arrays[name] = np.asarray(lab.number(leaves[0]), dtype="float64")
    return arrays
