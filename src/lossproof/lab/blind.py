"""What is asked of autodiff when a gradient is missing, and what it takes to believe it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from lossproof.lab.lab import Lab

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
    """Inside, random numbers repeat, assignments fall into a scope of their own, and nothing is printed as a warning."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(lab.backend.repeatable())
        if lab.capture.model is not None:
            stack.enter_context(lab.model.scope(collect=False))
        else:
            stack.enter_context(keras.StatelessScope())
        yield
