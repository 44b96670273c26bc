"""The targets as the user passed them, beside those that arrived."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.subject import Subject

NUMERIC = "biuf"


def passed_leaves(lab: Lab, subject: Subject) -> list[np.ndarray | None]:
    """For each target of a subject the array that the user passed for it; None where it is not known or no number.

    A target is known by its place in the batch, or, where the objective has handed on another tensor, by equal values.
    """
    own = lab.capture.loss_call
    if own is not None:
        return [_array(leaf) for leaf in keras.tree.flatten(own.y_true)]
    batch = lab.batch
    if batch.passed is None:
        return [None] * len(keras.tree.flatten(subject.y_true))
    received = keras.tree.flatten(batch.y)
    given = [_array(leaf) for leaf in keras.tree.flatten(batch.passed)]
    if len(received) != len(given):
        return [None] * len(keras.tree.flatten(subject.y_true))
    return [_match(lab, leaf, received, given) for leaf in keras.tree.flatten(subject.y_true)]


def all_passed(lab: Lab, position: int) -> np.ndarray | None:
    """Every row of the targets at a position, where the user passed them as arrays."""
    leaves = keras.tree.flatten(lab.capture.data.get("y"))
    return _array(leaves[position]) if position < len(leaves) else None


def with_targets(subject: Subject, tensors: list[Any]) -> Subject:
    """The same subject with other target tensors, in the order in which the structure is flattened."""
    return subject.changed(y_true=keras.tree.pack_sequence_as(subject.y_true, tensors))


def _match(lab: Lab, leaf: Any, received: list[Any], given: list[np.ndarray | None]) -> np.ndarray | None:
    for one, array in _same(lab, leaf, received, given):
        size = int(np.prod(one.shape))
        return array if array is not None and array.size == size else None
    return None


def _same(
    lab: Lab, leaf: Any, received: list[Any], given: list[np.ndarray | None]
) -> Iterator[tuple[Any, np.ndarray | None]]:
    if not lab.backend.is_tensor(leaf):
        return
    pairs = list(zip(received, given, strict=True))
    yield from (pair for pair in pairs if pair[0] is leaf)
    values = lab.number(leaf).ravel()
    for one, array in pairs:  # an axis of size 1 may have come or gone
        if lab.backend.is_tensor(one) and np.array_equal(
            lab.number(one).ravel(), values, equal_nan=values.dtype.kind == "f"
        ):
            yield one, array


def _array(leaf: Any) -> np.ndarray | None:
    if leaf is None or isinstance(leaf, str):
        return None
    if hasattr(leaf, "detach") or type(leaf).__module__.startswith(("jaxlib", "jax", "tensorflow")):
        try:
            leaf = keras.ops.convert_to_numpy(leaf)
        except Exception:  # of another backend, sparse, ragged
            leaf = getattr(leaf, "numpy", lambda: None)()
    array = np.asarray(leaf)
    return array if array.dtype.kind in NUMERIC else None
