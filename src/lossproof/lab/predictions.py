"""The predictions of a subject as numbers that can be moved, and what autodiff says of the subject there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import Point, quiet
from lossproof.lab.lab import Lab
from lossproof.lab.subject import Subject


def look(lab: Lab, subject: Subject, leaves: Sequence[np.ndarray], lenient: bool = True) -> Point:
    """The total of a subject and its gradient for its predictions, with other predictions.

    Raises:
        Whatever the user's code raises.
    """
    originals = float_leaves(lab, subject)
    tensors = [tensor_like(lab, array, leaf) for array, leaf in zip(leaves, originals, strict=True)]

    def value(*moved: Tensor) -> Tensor:
        total = with_float_leaves(lab, subject, moved).total()
        return keras.ops.cast(keras.ops.convert_to_tensor(total), "float32")  # a count is a loss as well

    with ExitStack() as stack:
        stack.enter_context(quiet(lab))
        if lenient:
            stack.enter_context(lab.backend.lenient_conversions())
        total, gradients = lab.backend.gradient(value, tensors)
        found = tuple(None if gradient is None else lab.number(gradient) for gradient in gradients)
        return Point(float(np.sum(lab.number(total))), found)


def look_here(lab: Lab, subject: Subject) -> Point:
    """`look` at the predictions that the subject has."""
    return look(lab, subject, [lab.number(leaf) for leaf in float_leaves(lab, subject)])


def float_leaves(lab: Lab, subject: Subject) -> list[Tensor]:
    """The prediction tensors of a subject that can have a gradient."""
    return [leaf for leaf in keras.tree.flatten(subject.y_pred) if _is_float(lab, leaf)]


def with_float_leaves(lab: Lab, subject: Subject, tensors: Sequence[Tensor]) -> Subject:
    """The same subject with other prediction tensors in the places of `float_leaves`."""
    given = iter(tensors)
    flat = keras.tree.flatten(subject.y_pred)
    leaves = [_masked(next(given), leaf) if _is_float(lab, leaf) else leaf for leaf in flat]
    return subject.changed(y_pred=keras.tree.pack_sequence_as(subject.y_pred, leaves))


def with_predictions(lab: Lab, subject: Subject, leaves: Sequence[np.ndarray]) -> Subject:
    """The same subject with these numbers in the places of `float_leaves`, in their dtypes."""
    pairs = zip(leaves, float_leaves(lab, subject), strict=True)
    return with_float_leaves(lab, subject, [tensor_like(lab, array, leaf) for array, leaf in pairs])


def moves(lab: Lab, subject: Subject, leaves: list[np.ndarray]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Other predictions, near and far: towards the targets, of other rows, at random over their range and beyond."""
    random = np.random.default_rng(0)
    targets = [lab.number(leaf) for leaf in keras.tree.flatten(subject.y_true) if hasattr(leaf, "shape")]
    numeric = [target for target in targets if target.dtype.kind in "fiub" and target.size]
    if [target.size for target in numeric] == [leaf.size for leaf in leaves]:
        for share in (0.5, 1.0):
            pairs = zip(leaves, numeric, strict=True)
            yield (
                "moved onto the targets" if share == 1.0 else "moved halfway to the targets",
                [leaf + share * (target.reshape(leaf.shape) - leaf) for leaf, target in pairs],
            )
    yield "of other rows", [np.roll(leaf, 1, axis=0) for leaf in leaves]
    for _ in range(3):  # targets may be of another kind: only here are predictions known to be in their domain
        yield "drawn at random", [_drawn(random, leaf) for leaf in leaves]
    low, high = _range([*leaves, *numeric])
    span = (high - low) or 1.0
    for beyond in (0.0, 0.0, 0.0, 1.0, 1.0, 10.0):
        yield (
            "drawn at random",
            [random.uniform(low - beyond * span, high + beyond * span, size=leaf.shape) for leaf in leaves],
        )


def _range(parts: list[np.ndarray]) -> tuple[float, float]:
    finite = np.concatenate([part[np.isfinite(part)].ravel().astype("float64") for part in parts])
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _drawn(random: np.random.Generator, leaf: np.ndarray) -> np.ndarray:
    """As a leaf, over the range of its own values."""
    return random.uniform(*_range([leaf]), size=leaf.shape)


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
