"""Whether autodiff connects an objective to its predictions, and where the connection is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import FEWEST, Blind, Point, quiet
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.localize.queries import last_differentiable
from lossproof.lab.noise import differs
from lossproof.lab.replace import replaced
from lossproof.lab.subject import ObjectiveSubject, Subject
from lossproof.lab.weight_connection import look_at_weights

HALVINGS = 24
"""Halving an interval this often leaves neighbours in float32."""


def blind(lab: Lab, subject: Subject) -> Blind | None:
    """The proof that a subject gives its predictions no gradient, None where it gives one or its value does not move."""
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    base = lab.attempt(lambda: _look(lab, subject, leaves)) if leaves else None
    if base is None or not base.dark or not np.isfinite(base.value):
        return None
    seen = [(base, leaves, "as captured")]
    for how, moved in moves(lab, subject, leaves):
        point = lab.attempt(lambda moved=moved: _look(lab, subject, moved))
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


def moves(lab: Lab, subject: Subject, leaves: list[np.ndarray]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Other predictions, near and far: towards the targets, of other rows, at random over their range and beyond."""
    random = np.random.default_rng(0)
    targets = [lab.number(leaf) for leaf in keras.tree.flatten(subject.y_true) if hasattr(leaf, "shape")]
    numeric = [target for target in targets if target.dtype.kind in "fiub" and target.size]
    if [target.size for target in numeric] == [leaf.size for leaf in leaves]:
        for share in (0.5, 1.0):
            pairs = zip(leaves, numeric, strict=True)
            yield "moved onto the targets" if share == 1.0 else "moved halfway to the targets", [
                leaf + share * (target.reshape(leaf.shape) - leaf) for leaf, target in pairs
            ]
    yield "of other rows", [np.roll(leaf, 1, axis=0) for leaf in leaves]
    finite = np.concatenate([part[np.isfinite(part)].ravel().astype("float64") for part in (*leaves, *numeric)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    span = (high - low) or 1.0
    for beyond in (0.0, 0.0, 0.0, 1.0, 1.0, 10.0):
        yield "drawn at random", [
            random.uniform(low - beyond * span, high + beyond * span, size=leaf.shape) for leaf in leaves
        ]


def float_leaves(lab: Lab, subject: Subject) -> list[Tensor]:
    """The prediction tensors of a subject that can have a gradient."""
    return [leaf for leaf in keras.tree.flatten(subject.y_pred) if _is_float(lab, leaf)]


def with_float_leaves(lab: Lab, subject: Subject, tensors: Sequence[Tensor]) -> Subject:
    """The same subject with other prediction tensors in the places of `float_leaves`."""
    given = iter(tensors)
    leaves = [_masked(next(given), leaf) if _is_float(lab, leaf) else leaf for leaf in keras.tree.flatten(subject.y_pred)]
    return subject.changed(y_pred=keras.tree.pack_sequence_as(subject.y_pred, leaves))


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


def tensor_like(lab: Lab, array: np.ndarray, leaf: Tensor) -> Tensor:
    """A tensor with these values and the dtype of another."""
    return lab.backend.tensor(np.asarray(array, dtype="float64"), dtype=keras.backend.standardize_dtype(leaf.dtype))


def _is_float(lab: Lab, leaf: Any) -> bool:
    return lab.backend.is_tensor(leaf) and "float" in keras.backend.standardize_dtype(leaf.dtype)


def _masked(tensor: Tensor, like: Tensor) -> Tensor:
    mask = keras_private.mask_of(like)
    with suppress(AttributeError):  # a tracer may have no room for it
        keras_private.set_mask(tensor, mask)
    return tensor


def _look(lab: Lab, subject: Subject, leaves: list[np.ndarray], lenient: bool = True) -> Point:
    originals = float_leaves(lab, subject)
    tensors = [tensor_like(lab, array, leaf) for array, leaf in zip(leaves, originals, strict=True)]

    def value(*moved: Tensor) -> Tensor:
        total = with_float_leaves(lab, subject, moved).total()
        return keras.ops.cast(total, "float32")  # a count is a loss as well

    with ExitStack() as stack:
        stack.enter_context(quiet(lab))
        if lenient:
            stack.enter_context(lab.backend.lenient_conversions())
        total, gradients = lab.backend.gradient(value, tensors)
    found = tuple(None if gradient is None else lab.number(gradient) for gradient in gradients)
    return Point(float(np.sum(lab.number(total))), found)


def _edge(
    lab: Lab, subject: Subject, low: tuple[Point, list[np.ndarray]], high: tuple[Point, list[np.ndarray]]
) -> tuple[tuple[Point, list[np.ndarray]], tuple[Point, list[np.ndarray]]] | None:
    """Neighbours between which the value changes most, found by halving; None if a gradient shows up on the way.

    A loss that is flat here and there and slopes in between shows its slope; one made of steps narrows down to a jump.
    """
    for _ in range(HALVINGS):
        leaves = [
            ((a + b) / 2.0).astype("float32").astype("float64") for a, b in zip(low[1], high[1], strict=True)
        ]
        point = lab.attempt(lambda leaves=leaves: _look(lab, subject, leaves))
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
                stack.enter_context(replaced(owner, name, lambda _: lambda value, *args, **kwargs: value))
            return _look(lab, subject, leaves)

    point = lab.attempt(lifted)
    if point is None or point.dark:
        return False
    return any(gradient is not None and gradient.any() for gradient in _weight_gradients(lab))


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
    point: Point | None = lab.once("weights looked at", experiment=lambda: lab.attempt(lambda: look_at_weights(lab)))
    return point.gradients if point is not None else ()


def _refusal(lab: Lab, subject: Subject, leaves: list[np.ndarray]) -> str | None:
    try:
        _look(lab, subject, leaves, lenient=False)
    except Exception as error:  # what it is, is the answer
        return type(error).__name__
    return None
