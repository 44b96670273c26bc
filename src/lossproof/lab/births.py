"""The expression in which a NaN or Inf is born, in the value or in the derivative."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import quiet
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.localize.queries import first_nonfinite
from lossproof.lab.predictions import float_leaves, tensor_like, with_float_leaves
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


def brought_in(event: Event) -> bool:
    """Whether an expression only names what came from outside."""
    return event.kind == "name" and not event.operands


def numbers_at(lab: Lab, subject: Subject) -> dict[str, np.ndarray]:
    """The single target and prediction tensors of a subject, as numbers."""
    arrays = {}
    for name, data in (("y_true", subject.y_true), ("y_pred", subject.y_pred)):
        leaves = [leaf for leaf in keras.tree.flatten(data) if lab.backend.is_tensor(leaf)]
        if len(leaves) == 1:
            arrays[name] = np.asarray(lab.number(leaves[0]), dtype="float64")
    return arrays
