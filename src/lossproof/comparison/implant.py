"""Gives a model what belongs to another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import CellType, FunctionType, MethodType
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.comparison.recording import Optimizer, Training
from lossproof.objective.trainer import Trainer

OVERRIDES = ("compute_loss", "train_step")
_PLAIN = (bool, int, float, str, type(None), np.ndarray, np.generic, FunctionType, keras.losses.Loss)
"""Kinds of values that a method of the user's may read off its model, and that belong to no model."""


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
    with ExitStack() as stack:
        arguments = keras_private.compile_arguments(other)
        if keras_private.compile_loss(model) is not None or arguments["loss"] is not None:
            stack.enter_context(keras_private.recompiled(model, arguments["loss"], arguments["loss_weights"]))
        for name, value in _organs(model, other).items():
            own = vars(model)  # past the tracking of attributes, which would keep it
            stack.callback(_put_back, own, name, name in own, own.get(name))
            own[name] = value
        yield


def _organs(model: Any, other: Any) -> dict[str, Any]:
    """What of another model's makes its objective, by the name under which the model is to hold it."""
    if isinstance(model, Trainer) and isinstance(other, Trainer):
        from lossproof.objective.exchange import Exchanged

        with suppress(Exception):  # then the objective stays, and the difference too
            exchanged = Exchanged(model, other)
            return {"call": exchanged.call, "compute_loss": exchanged.compute_loss}
        return {}
    organs: dict[str, Any] = {}
    for name in OVERRIDES:
        theirs = getattr(type(other), name)
        if theirs is not getattr(type(model), name):
            organs[name] = MethodType(_of_class(theirs, type(model)), model)
    if any(getattr(type(other), name) is not getattr(keras.Model, name) for name in OVERRIDES):
        organs |= _settings(other)
    return organs


def _of_class(function: Callable[..., Any], owner: type) -> Callable[..., Any]:
    """The same method with `super()` meaning that of another class."""
    if not isinstance(function, FunctionType) or "__class__" not in function.__code__.co_freevars:
        return function
    assert function.__closure__ is not None
    cells = [
        CellType(owner) if name == "__class__" else cell
        for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True)
    ]
    moved = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, tuple(cells)
    )
    moved.__kwdefaults__ = function.__kwdefaults__
    return moved


def _settings(model: Any) -> dict[str, Any]:
    """The plain values that the user's class keeps in its objects, such as `self.beta`."""
    bare = keras.Model()
    bare.compile()
    return {name: value for name, value in vars(model).items() if name not in vars(bare) and isinstance(value, _PLAIN)}


def _put_back(own: dict[str, Any], name: str, existed: bool, before: Any) -> None:
    if existed:
        own[name] = before
    else:
        own.pop(name, None)


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
