"""Whether autodiff connects an objective to its predictions, and where the connection is lost."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import FEWEST, Blind, Point, quiet
from lossproof.lab.gradient.weight_connection import captured_point
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.localize.queries import last_differentiable
from lossproof.lab.noise import differs
from lossproof.lab.predictions import float_leaves, look, moves, tensor_like, with_float_leaves
from lossproof.lab.replace import replaced
from lossproof.lab.subject import ObjectiveSubject, Subject

HALVINGS = 24
"""Halving an interval this often leaves neighbours in float32."""


def blind(lab: Lab, subject: Subject) -> Blind | None:
    """The proof that a subject gives its predictions no gradient; None where it does, or its value does not move."""
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    base = lab.attempt(lambda: look(lab, subject, leaves)) if leaves else None
    if base is None or not base.dark or not np.isfinite(base.value):
        return None
    seen = [(base, leaves, "as captured")]
    for how, moved in moves(lab, subject, leaves):
        point = lab.attempt(partial(look, lab, subject, moved))
        if point is not None and np.isfinite(point.value):
            if not point.dark:
                return None
            seen.append((point, moved, how))
    terms = sum(leaf.size for leaf in leaves)
    far, there, how = max(seen, key=lambda one: abs(one[0].value - base.value))
    if len(seen) < FEWEST or not differs(base.value, far.value, terms=terms):
        return None
    edge = _edge(lab, subject, (base, leaves), (far, there))
    if edge is None or _cut_on_purpose(lab, subject, leaves) or not _alone(lab, subject):
        return None
    (low, at_low), (high, at_high) = edge
    jumps = differs(low.value, high.value, terms=terms)
    width = max(float(np.abs(a - b).max()) for a, b in zip(at_low, at_high, strict=True))
    return Blind(
        before=base.value,
        after=far.value,
        subject="predictions",
        moved=how,
        points=len(seen),
        found="None" if all(gradient is None for point, *_ in seen for gradient in point.gradients) else "0",
        step=(width, high.value - low.value) if jumps else None,
        refusal=_refusal(lab, subject, leaves),
    )


def vanishing(lab: Lab, subject: Subject) -> Event | None:
    """The first expression of the user's code in which the derivative for the predictions vanishes."""
    leaves = float_leaves(lab, subject)
    random = np.random.default_rng(0)
    directions = [tensor_like(lab, random.uniform(0.5, 1.5, size=tuple(leaf.shape)), leaf) for leaf in leaves]

    def run(duals: list[Tensor], derivative: Any) -> Event | None:
        def depends(leaf: Any) -> bool:
            found = derivative(leaf)
            return found is not None and bool(np.any(found != 0))

        return last_differentiable(lab.trace(with_float_leaves(lab, subject, duals)), depends)

    def experiment() -> Event | None:
        with quiet(lab), lab.backend.lenient_conversions():
            event: Event | None = lab.backend.forward_mode(run, leaves, directions)
        return event

    return lab.attempt(experiment) if leaves else None


def _edge(
    lab: Lab, subject: Subject, low: tuple[Point, list[np.ndarray]], high: tuple[Point, list[np.ndarray]]
) -> tuple[tuple[Point, list[np.ndarray]], tuple[Point, list[np.ndarray]]] | None:
    """Neighbours between which the value changes most, found by halving; None if a gradient shows up on the way.

    A loss that is flat here and there and slopes in between shows its slope; one made of steps narrows down to a jump.
    """
    for _ in range(HALVINGS):
        leaves = [((a + b) / 2.0).astype("float32").astype("float64") for a, b in zip(low[1], high[1], strict=True)]
        point = lab.attempt(partial(look, lab, subject, leaves))
        if point is None or not np.isfinite(point.value):
            break
        if not point.dark:
            return None
        nearer = abs(point.value - low[0].value) >= abs(high[0].value - point.value)
        low, high = (low, (point, leaves)) if nearer else ((point, leaves), high)
    return low, high


def _cut_on_purpose(lab: Lab, subject: Subject, leaves: list[np.ndarray]) -> bool:
    """Whether the gradient is stopped by the user, and training has other things to follow."""

    def lifted() -> Point:
        with ExitStack() as stack:
            for owner, name in lab.backend.gradient_stops():
                stack.enter_context(replaced(owner, name, lambda _: _unchanged))
            return look(lab, subject, leaves)

    point = lab.attempt(lifted)
    if point is None or point.dark:
        return False
    return any(gradient is not None and gradient.any() for gradient in _weight_gradients(lab))


def _unchanged(value: Any, *_: Any, **__: Any) -> Any:
    return value


def _alone(lab: Lab, subject: Subject) -> bool:
    """Whether the predictions are the only way of the weights into a `compute_loss`, penalties aside.

    One that evaluates the model again, and only looks at `y_pred` for a mask, trains by another way.
    """
    if not isinstance(subject, ObjectiveSubject):
        return True
    penalties: list[np.ndarray | None] = [None] * len(lab.model.trainable)
    if lab.forward_losses:

        def added(*weights: Tensor) -> Tensor:
            with lab.model.scope(list(weights)):
                return sum(keras.ops.sum(loss) for loss in lab.model.forward(lab.batch.x).losses)

        _, found = lab.backend.gradient(added, lab.model.start)
        penalties = [None if gradient is None else lab.number(gradient) for gradient in found]
    gradients = _weight_gradients(lab)
    if len(gradients) != len(penalties):
        return False
    for whole, part in zip(gradients, penalties, strict=True):
        difference = (0.0 if whole is None else whole) - (0.0 if part is None else part)
        if np.any(np.abs(difference) > 1e-5 * np.max(np.abs(0.0 if part is None else part), initial=0.0)):
            return False
    return True


def _weight_gradients(lab: Lab) -> tuple[np.ndarray | None, ...]:
    if lab.capture.model is None:
        return ()
    point = lab.once(captured_point)
    return point.gradients if point is not None else ()


def _refusal(lab: Lab, subject: Subject, leaves: list[np.ndarray]) -> str | None:
    try:
        look(lab, subject, leaves, lenient=False)
    except Exception as error:  #  what it is, is the answer
        return type(error).__name__
    return None
