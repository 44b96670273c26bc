"""Which rows a call trains or evaluates on, as marks that tell equal rows from others."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lossproof.capture.batch import is_array

LARGEST = 1 << 26
"""Bytes of the inputs above which no marks are made."""


def marks_of(x: Any) -> np.ndarray | None:
    """One number per row of the inputs, equal for equal rows; shape (rows,), int64.

    None for what is no array in memory, or too large.
    """
    leaves = keras.tree.flatten(x)
    if not leaves or not all(is_array(leaf) or hasattr(leaf, "iloc") for leaf in leaves):
        return None
    if sum(getattr(leaf, "nbytes", LARGEST) for leaf in leaves if not hasattr(leaf, "iloc")) > LARGEST:
        return None
    arrays = [np.asarray(leaf if not hasattr(leaf, "device") else keras.ops.convert_to_numpy(leaf)) for leaf in leaves]
    if any(array.dtype == object or not array.ndim for array in arrays) or len({len(array) for array in arrays}) != 1:
        return None  # a sparse matrix, for one, is an object to NumPy
    flat = [np.ascontiguousarray(array.reshape(len(array), -1)) for array in arrays]
    return np.array([hash(tuple(row.tobytes() for row in rows)) for rows in zip(*flat, strict=True)], dtype="int64")


def split_marks(arguments: dict[str, Any]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The rows that a `fit` trains on, and those that it holds out (`validation_split`, `validation_data`)."""
    marks = marks_of(arguments.get("x"))
    held_out = arguments.get("validation_data")
    if held_out is not None:
        return marks, marks_of(held_out[0]) if isinstance(held_out, (tuple, list)) else None
    share = arguments.get("validation_split") or 0.0
    if marks is None or not share:
        return marks, None
    kept = int(len(marks) * (1.0 - share))
    return marks[:kept], marks[kept:]
