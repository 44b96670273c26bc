"""The captured model as a function: of its weights, of the batch, of one thing changed. Nothing of it is altered.

Everything runs in a `keras.StatelessScope` that maps each variable to its value at the time of the capture, so that
assignments (BatchNorm's statistics, seed generators, metrics) fall into the scope and not into the model.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.copies import copy_of
from lossproof.lab.backends import running_backend
from lossproof.lab.backends.base import Tensor
from lossproof.lab.received import Batch


@dataclass(frozen=True)
class Forward:
    """A forward pass in training mode: predictions and the losses that layers added on the way."""

    y_pred: Any
    losses: list[Tensor]


def present_value(variable: Any) -> np.ndarray:
    """The present value of a variable; zeros (the start of every metric) where a step that failed left it without."""
    shape = tuple(variable.shape)
    try:
        value = copy_of(variable)
    except Exception:  # JAX takes the values away while a step runs; a trace leaves its own
        return np.zeros(shape, keras.backend.standardize_dtype(variable.dtype))
    return value if value.shape == shape else np.zeros(shape, keras.backend.standardize_dtype(variable.dtype))


class Functional:
    """A model with the weights that it had when it was captured.

    Args:
        model: The user's model, built.
        weights: Values of `model.variables`; None for the present ones.
    """

    def __init__(self, model: Any, weights: list[np.ndarray] | None) -> None:
        self.model = model
        self._weights = weights

    @cached_property
    def state(self) -> list[tuple[Any, Tensor]]:
        """Each variable of the model with its value at the capture; those made later with their present one."""
        backend = running_backend()
        values: dict[int, Tensor] = {}
        if self._weights is not None and len(self._weights) <= len(self.model.variables):
            for variable, value in zip(self.model.variables, self._weights, strict=False):
                if tuple(variable.shape) == value.shape:
                    values[id(variable)] = backend.tensor(value)
        pairs = []
        for variable in [*self.model.variables, *self.model.metrics_variables]:
            known = values.get(id(variable))
            pairs.append((variable, known if known is not None else backend.tensor(present_value(variable))))
        return pairs

    @property
    def trainable(self) -> list[Any]:
        """The trainable variables, in the model's order."""
        return list(self.model.trainable_variables)

    @cached_property
    def start(self) -> list[Tensor]:
        """The captured values of the trainable variables."""
        by_id = {id(variable): value for variable, value in self.state}
        return [by_id[id(variable)] for variable in self.trainable]

    def scaled(self, variables: set[int], scale: float) -> Functional:
        """The same model with the captured values of some variables, by `id`, multiplied by a number."""
        weights = []
        for variable, value in self.state[: len(self.model.variables)]:
            array = np.asarray(running_backend().numpy(value))
            weights.append((array * scale).astype(array.dtype) if id(variable) in variables else array)
        return Functional(self.model, weights)

    @contextmanager
    def scope(self, weights: list[Tensor] | None = None, collect: bool = True) -> Iterator[None]:
        """Inside, the model has the captured state, with `weights` for its trainable variables where given."""
        mapping = list(self.state)
        if weights is not None:
            mapping += list(zip(self.trainable, weights, strict=True))
        with running_backend().repeatable(), keras.StatelessScope(mapping, collect_losses=collect):
            yield

    def forward(self, x: Any, training: bool = True) -> Forward:
        """One forward pass; call it inside `scope`."""
        model = self.model
        y_pred = model(x, training=training) if keras_private.takes_training(model) else model(x)
        return Forward(y_pred, list(model.losses))

    def compute_loss(self, batch: Batch, forward: Forward, training: bool = True) -> Tensor:
        """`model.compute_loss` after a forward pass; call it inside the same `scope`."""
        model = self.model
        arguments = {"x": batch.x, "y": batch.y, "y_pred": forward.y_pred, "sample_weight": batch.sample_weight}
        if "training" in inspect.signature(model.compute_loss).parameters:
            arguments["training"] = training
        # JAX's trainer hands over the forward losses by this override; elsewhere the layers still hold them.
        override = running_backend().name == "jax" and bool(forward.losses)
        if override:
            keras_private.use_forward_losses(model, forward.losses)
        try:
            return model.compute_loss(**arguments)
        finally:
            if override:
                keras_private.use_forward_losses(model, [])

    def objective(self, batch: Batch, weights: list[Tensor] | None = None) -> Tensor:
        """The total that training minimises on a batch, as a function of the trainable weights."""
        with self.scope(weights):
            return self.compute_loss(batch, self.forward(batch.x))
