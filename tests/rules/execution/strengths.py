"""The places in which a Python number can stand that a loss reads, each with a way to change it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

Assign = Callable[[float], None]


def penalised(y_true: Any, y_pred: Any, strength: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred) + strength * ops.square(y_pred), axis=-1)


def attribute_of_a_loss() -> tuple[Any, Assign]:
    class Penalised(keras.losses.Loss):
        def __init__(self) -> None:
            super().__init__()
            self.strength = 0.0

        def call(self, y_true: Any, y_pred: Any) -> Any:
            return penalised(y_true, y_pred, self.strength)

    loss = Penalised()
    return loss, functools.partial(setattr, loss, "strength")


def attribute_behind_a_method() -> tuple[Any, Assign]:
    class Owner:
        strength = 0.0

        def loss(self, y_true: Any, y_pred: Any) -> Any:
            return penalised(y_true, y_pred, self.strength)

    owner = Owner()
    owner.strength = 0.0
    return owner.loss, functools.partial(setattr, owner, "strength")


def attribute_of_a_callable() -> tuple[Any, Assign]:
    class Objective:
        def __init__(self) -> None:
            self.strength = 0.0

        def __call__(self, y_true: Any, y_pred: Any) -> Any:
            return penalised(y_true, y_pred, self.strength)

    objective = Objective()
    return objective, functools.partial(setattr, objective, "strength")


def cell() -> tuple[Any, Assign]:
    strength = 0.0

    def loss(y_true: Any, y_pred: Any) -> Any:
        return penalised(y_true, y_pred, strength)

    def assign(value: float) -> None:
        nonlocal strength
        strength = value

    return loss, assign


def cell_of_a_lambda() -> tuple[Any, Assign]:
    strength = 0.0

    def assign(value: float) -> None:
        nonlocal strength
        strength = value

    return lambda y_true, y_pred: penalised(y_true, y_pred, strength), assign


STRENGTH = 0.0


def of_the_module() -> tuple[Any, Assign]:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return penalised(y_true, y_pred, STRENGTH)

    def assign(value: float) -> None:
        global STRENGTH  # noqa: PLW0603 - as users do
        STRENGTH = value

    assign(0.0)
    return loss, assign


def item() -> tuple[Any, Assign]:
    settings = {"strength": 0.0}

    def loss(y_true: Any, y_pred: Any) -> Any:
        return penalised(y_true, y_pred, settings["strength"])

    return loss, functools.partial(settings.__setitem__, "strength")


@dataclass
class Settings:
    strength: float = 0.0


def field_bound_by_partial() -> tuple[Any, Assign]:
    def loss(y_true: Any, y_pred: Any, settings: Settings) -> Any:
        return penalised(y_true, y_pred, settings.strength)

    settings = Settings()
    return functools.partial(loss, settings=settings), functools.partial(setattr, settings, "strength")


def behind_a_decorator() -> tuple[Any, Assign]:
    loss, assign = cell()

    @functools.wraps(loss)
    def wrapper(*args: Any) -> Any:
        return loss(*args)

    return wrapper, assign


PLACES = {
    place.__name__: place
    for place in (
        attribute_of_a_loss,
        attribute_behind_a_method,
        attribute_of_a_callable,
        cell,
        cell_of_a_lambda,
        of_the_module,
        item,
        field_bound_by_partial,
        behind_a_decorator,
    )
}
