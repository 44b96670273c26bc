"""The rows of the data that a `fit` got, marked so that the same rows are known again in another order and process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import count_batches
from lossproof.comparison.recording import parts_of
from lossproof.lab.backends import running_backend

LARGEST = 1 << 26
"""Bytes of the data above which rows get no marks."""


def marks_of_data(arguments: dict[str, Any]) -> np.ndarray | None:
    """A mark of each row, equal for equal rows; None where the data are too large, or can be read only once.

    Args:
        arguments: Of the `fit`, by name.
    """
    x = arguments.get("x")
    if isinstance(x, Iterator) or count_batches(x) is None:
        return None
    try:
        with running_backend().repeatable():
            return _marks_of_batches(keras_private.epoch_data(arguments))
    except Exception:  # the user's dataset may refuse to be read again
        return None


def _marks_of_batches(batches: Iterator[Any]) -> np.ndarray | None:
    marks: list[np.ndarray] = []
    read = 0
    for batch in batches:
        arrays = [np.asarray(keras.ops.convert_to_numpy(leaf)) for _, leaf in parts_of(batch)]
        if not arrays or any(not array.ndim for array in arrays) or len({len(array) for array in arrays}) > 1:
            return None
        read += sum(array.nbytes for array in arrays)
        if read > LARGEST:
            return None
        marks.append(_marks_of_rows(arrays))
    return np.concatenate(marks) if marks else None


def _marks_of_rows(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """One number for each row of some arrays of one length, shape (rows,), int64."""

    def mark(k: int) -> int:
        content = hashlib.blake2b(digest_size=7)
        for array in arrays:
            content.update(np.ascontiguousarray(array[k]).tobytes())
        return int.from_bytes(content.digest(), "little")

    return np.array([mark(k) for k in range(len(arrays[0]))], dtype="int64")
