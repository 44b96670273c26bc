"""What is asked of autodiff when a gradient is missing, and what it takes to believe it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof.capture.copies import copy_of
from lossproof.capture.values import held
from lossproof.keras_private import in_stateless_scope
from lossproof.lab.lab import Lab
from lossproof.lab.replace import replaced

FEWEST = 4
"""Points with a finite value that are needed for a verdict."""


@dataclass(frozen=True)
class Blind:
    """An objective whose value moves with the predictions though autodiff gives it no gradient."""

    before: float
    after: float
    """The value with the predictions (or weights) moved."""
    subject: str
    """What was moved: `predictions` or `weights`."""
    moved: str
    """How they were moved."""
    points: int
    """At how many points there was no gradient."""
    found: str
    """`None` or `0`: what autodiff says."""
    step: tuple[float, float] | None
    """Where the value jumps: how far the predictions move there at most, and by how much the value changes."""
    refusal: str | None
    """What autodiff raises unless the values are taken out of its hands."""


@dataclass(frozen=True)
class Point:
    """What autodiff says at one point."""

    value: float
    gradients: tuple[np.ndarray | None, ...]
    refusal: str | None = None
    """The exception that stands in the place of a gradient."""

    @property
    def dark(self) -> bool:
        """Whether there is no gradient, or none that is not zero."""
        return all(gradient is None or not gradient.any() for gradient in self.gradients)


@contextmanager
def quiet(lab: Lab) -> Iterator[None]:
    """Inside, random numbers repeat and nothing is printed as a warning; what was assigned is taken back afterwards."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(lab.backend.repeatable())
        for change in lab.changed_by_objective:  # a counter would make each experiment another one
            with suppress(Exception):  # what cannot be set stays as it is
                stack.enter_context(held(change.slot, change.before))
        if lab.backend.name == "jax":  # a step of JAX runs in such a scope as well
            stack.enter_context(keras.StatelessScope())
        else:
            stack.enter_context(_taken_back())
        yield


@contextmanager
def _taken_back() -> Iterator[None]:
    """Puts variables back that are assigned inside, such as the state of a metric that serves as a loss.

    A scope would not do: in it, what is assigned stays connected for autodiff, which it is not in a step.
    """
    before: dict[int, tuple[Any, np.ndarray]] = {}

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def assign(variable: Any, *args: Any, **kwargs: Any) -> Any:
            if not in_stateless_scope():
                before.setdefault(id(variable), (variable, copy_of(variable)))
            return original(variable, *args, **kwargs)

        return assign

    try:
        with replaced(keras.Variable, "assign", make):
            yield
    finally:
        for variable, value in before.values():
            variable.assign(value)
