"""Gives a model what belongs to another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.comparison.recording import Optimizer, Training

OVERRIDES = ("compute_loss", "train_step")


@dataclass(frozen=True)
class Donated:
    """The objective of another run's model."""

    model: Any


@contextmanager
def implanted(model: Any, donated: Donated | None) -> Iterator[None]:
    """Inside, a model trains with the objective of another: its compiled loss, and its own methods where it has any."""
    if donated is None:
        yield
        return
    other = donated.model
    own = vars(model)
    with ExitStack() as stack:
        arguments = keras_private.compile_arguments(other)
        if keras_private.compile_loss(model) is not None or arguments["loss"] is not None:
            stack.enter_context(keras_private.recompiled(model, arguments["loss"], arguments["loss_weights"]))
        for name in OVERRIDES:
            theirs = getattr(type(other), name)
            if theirs is not getattr(type(model), name):
                before = own.get(name)
                own[name] = MethodType(theirs, model)
                stack.callback(_put_back, own, name, before)
        yield


def _put_back(own: dict[str, Any], name: str, before: Any) -> None:
    if before is None:
        own.pop(name)
    else:
        own[name] = before


def give_weights(model: Any, donor: Training, seeds: bool = False) -> None:
    """Assign another model's variables, by their order: the seeds of its random generators, or all others."""
    wanted = [one for one in donor.variables if (one.kind == "seed") == seeds]
    own = [v for v in model.variables if _is_seed(v) == seeds]
    for variable, theirs in zip(own, wanted, strict=False):
        if tuple(variable.shape) == theirs.value.shape:
            variable.assign(theirs.value)


def _is_seed(variable: Any) -> bool:
    return "seed_generator_state" in variable.path and "int" in str(variable.dtype)


def give_optimizer(model: Any, donor: Optimizer) -> None:
    """Train with another optimizer: its settings, where Keras can rebuild it, and its state."""
    optimizer = model.optimizer
    if donor.config is not None:
        try:
            optimizer = keras.optimizers.deserialize(donor.config)
        except Exception:  # a class of the other script's own: then the state alone is given
            optimizer = model.optimizer
    if optimizer is not model.optimizer:
        optimizer.build(model.trainable_variables)
        model.optimizer = optimizer
    for variable, value in zip(optimizer.variables, donor.state, strict=False):
        if tuple(variable.shape) == np.shape(value):
            variable.assign(value)
