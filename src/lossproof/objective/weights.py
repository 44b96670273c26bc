"""The weight of one term: a number, a schedule of the step, or a variable."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from lossproof.objective.references import Step

Tensor = Any
Weight = Any


def checked_weight(weight: Weight, term: str) -> Weight:
    """The weight of a term as it is kept: a float, a `LearningRateSchedule` or a `keras.Variable`.

    Raises:
        TypeError: it is none of these, or a schedule gives something that is no scalar.
        ValueError: it is NaN or infinite, now or as the schedule's value at step 0, or a variable that is trained.
    """
    if isinstance(weight, keras.optimizers.schedules.LearningRateSchedule):
        _check_schedule(weight, term)
        return weight
    if isinstance(weight, keras.Variable):
        _check_variable(weight, term)
        return weight
    if isinstance(weight, bool) or not isinstance(weight, numbers.Real):
        if hasattr(weight, "shape") and tuple(weight.shape) == ():
            return checked_weight(float(ops.convert_to_numpy(weight)), term)
        raise TypeError(
            f"The weight of term {term!r} is {weight!r}, a {type(weight).__name__}. Expected a number, a schedule of the "
            "step such as lp.schedules.Linear(0.0, 1.0, steps=1000) (any keras.optimizers.schedules.LearningRateSchedule), "
            "or a keras.Variable." + _advice(weight)
        )
    if not math.isfinite(weight):
        raise ValueError(f"The weight of term {term!r} is {float(weight)}. Expected a finite number.")
    return float(weight)


def _advice(weight: Any) -> str:
    if isinstance(weight, type):
        return f" {weight.__name__} is the class: make one of it, {weight.__name__}(...)."
    if hasattr(weight, "prepare") and hasattr(weight, "total"):
        return " A strategy weighs all terms: pass it to lp.Objective(terms, weighting=...)."
    if callable(weight):
        return (
            " A plain function of the step is run once, when the step is compiled, and cannot be saved: write a subclass "
            "of keras.optimizers.schedules.LearningRateSchedule with __call__(self, step) and get_config(self)."
        )
    return ""


def _check_schedule(schedule: Any, term: str) -> None:
    value = ops.convert_to_tensor(schedule(ops.convert_to_tensor(0, dtype="int32")))
    if tuple(value.shape) != ():
        raise TypeError(
            f"The schedule of term {term!r}, {type(schedule).__name__}, gives a tensor of shape {tuple(value.shape)} at "
            "step 0. Expected a scalar: one weight for the term."
        )
    number = float(ops.convert_to_numpy(value))
    if not math.isfinite(number):
        raise ValueError(
            f"The schedule of term {term!r}, {type(schedule).__name__}, is {number} at step 0. Expected a finite number."
        )


def _check_variable(variable: Any, term: str) -> None:
    if tuple(variable.shape) != ():
        raise TypeError(
            f"The weight of term {term!r} is a variable of shape {tuple(variable.shape)}, expected a scalar."
        )
    if variable.trainable:
        raise ValueError(
            f"The weight of term {term!r} is a trainable variable. Training would make it as small as it can get, whatever "
            "the term is: use keras.Variable(..., trainable=False), or lp.weighting.Uncertainty() to learn weights."
        )
    number = float(ops.convert_to_numpy(variable))
    if not math.isfinite(number):
        raise ValueError(
            f"The weight of term {term!r} is a variable with the value {number}. Expected a finite number."
        )


def moves(weight: Weight) -> bool:
    """Whether the weight may change during training, and is therefore logged."""
    return not isinstance(weight, float)


def asks_for_the_step(term: Any) -> bool:
    """Whether the weight of a term, or one of its arguments, is a function of the step."""
    schedule = isinstance(term.weight, keras.optimizers.schedules.LearningRateSchedule)
    return schedule or any(isinstance(one, Step) for one in term.bindings.values())


def weight_now(weight: Weight, step: Callable[[], Tensor]) -> Tensor | float:
    """The weight at a step, which is asked for if need be: the number itself, or a scalar tensor without gradient."""
    if isinstance(weight, float):
        return weight
    if isinstance(weight, keras.Variable):
        return ops.stop_gradient(ops.cast(ops.convert_to_tensor(weight), keras.config.floatx()))
    return ops.stop_gradient(ops.cast(weight(step()), keras.config.floatx()))
