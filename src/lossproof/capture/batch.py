"""A few rows of what the user passed, kept without disturbing it."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from typing import Any

import keras
import numpy as np

ROWS = 32
"""Keras's own default batch size; a batch that was asked for larger is represented by this many rows or fewer."""
SAMPLED_BYTES = 1 << 16
BATCHES_KEPT = 2
"""Of a generator, which cannot be read again."""


def is_array(value: Any) -> bool:
    """Whether a leaf of the data is an array, in Keras's sense: sliced by rows, of known length."""
    shape = getattr(value, "shape", None)
    return shape is not None and len(shape) > 0 and hasattr(value, "__getitem__") and hasattr(value, "dtype")


def in_memory(x: Any, y: Any = None) -> bool:
    """Whether the data came as arrays (or lists and dicts of arrays), not as an iterable of batches."""
    leaves = [leaf for leaf in keras.tree.flatten((x, y)) if leaf is not None]
    return bool(leaves) and all(_leaf_array(leaf) for leaf in leaves)


def _leaf_array(leaf: Any) -> bool:
    return is_array(leaf) or type(leaf).__module__.startswith("pandas") or isinstance(leaf, (int, float))


def count_rows(data: Any) -> int | None:
    """Rows of the first array of some data."""
    for leaf in keras.tree.flatten(data):
        if is_array(leaf):
            return int(leaf.shape[0])
        if hasattr(leaf, "__len__"):
            return len(leaf)
    return None


def count_batches(x: Any, batch_size: int | None = None, held_out: float = 0.0) -> int | None:
    """How many batches one epoch of some data has, without reading any; None where the data do not say.

    Args:
        x: Arrays, or an iterable of batches.
        batch_size: Of arrays; 32 by default, as in Keras.
        held_out: The `validation_split`.
    """
    if in_memory(x):
        count = count_rows(x)
        return -(-int(count * (1.0 - held_out)) // (batch_size or ROWS)) if count else None
    try:
        return int(x.num_batches if isinstance(x, keras.utils.PyDataset) else len(x))
    except Exception:  # a generator has no length, an infinite dataset raises, a user's may fail
        return None


def own_batch_size(x: Any, batch_size: int | None, steps: int | None, held_out: float = 0.0) -> int | None:
    """The batch size of an uncut call; None where the data are no arrays, and come in batches of their own.

    Keras makes batches out of arrays by the number of steps where it is told that alone: cut to two steps, each would be
    half of the data.
    """
    count = count_rows(x) if x is not None and in_memory(x) else None
    if batch_size or not count:
        return batch_size
    return -(-int(count * (1.0 - held_out)) // steps) if steps else ROWS


def take_rows(data: Any, rows: np.ndarray) -> Any:
    """The given rows of every array of some nested data, copied; pandas objects stay pandas objects."""

    def take(leaf: Any) -> Any:
        if leaf is None or isinstance(leaf, (int, float)):
            return leaf
        if hasattr(leaf, "iloc"):
            return leaf.iloc[rows].copy()
        if isinstance(leaf, np.ndarray):
            return leaf[rows]
        if hasattr(leaf, "tocsr"):  # a matrix of scipy.sparse
            return leaf.tocsr()[rows]
        if hasattr(leaf, "detach"):  # of PyTorch, perhaps on a GPU: only these rows are brought here
            return np.asarray(keras.ops.convert_to_numpy(leaf[rows]))
        return np.asarray(keras.ops.convert_to_numpy(leaf))[rows]

    return keras.tree.map_structure(take, data, none_is_leaf=True) if data is not None else None


def sample_rows(count: int, batch_size: int, spread: bool) -> np.ndarray:
    """Which rows stand for a batch: the first ones, or as many spread over all rows where training shuffles them."""
    size = min(count, batch_size)
    if not spread:
        return np.arange(size)
    return np.unique(np.linspace(0, count - 1, size).round().astype(int))


def copy_batch(data: dict[str, Any], spread: bool) -> dict[str, Any] | None:
    """The arguments of a call with every array cut to one batch; None where they are no arrays of as many rows."""
    x, y = data.get("x"), data.get("y")
    if not in_memory(x, y):
        return None
    count = count_rows((x, y))
    if not count:
        return None
    batch_size = data.get("batch_size") or ROWS
    split = data.get("validation_split") or 0.0
    rows = sample_rows(max(1, int(count * (1.0 - split))), batch_size, spread)
    try:
        cut = {key: take_rows(data.get(key), rows) for key in ("x", "y", "sample_weight")}
    except IndexError:  # Keras says so, too
        return None
    return {**cut, "class_weight": data.get("class_weight")}


def fingerprint(*data: Any) -> tuple[Any, ...]:
    """Equal for data with equal shapes and (sampled) values; iterables are told apart by identity."""
    marks: list[Any] = []
    for leaf in keras.tree.flatten(data):
        if leaf is None:
            marks.append(None)
        elif is_array(leaf) or hasattr(leaf, "iloc"):
            array = np.asarray(leaf) if not hasattr(leaf, "device") else np.asarray(keras.ops.convert_to_numpy(leaf))
            flat = array.reshape(-1)
            stride = max(1, flat.nbytes // SAMPLED_BYTES)
            sampled = np.ascontiguousarray(flat[::stride])
            content = repr(sampled.tolist()).encode() if sampled.dtype == object else sampled.tobytes()
            marks.append((array.shape, str(array.dtype), hashlib.blake2b(content, digest_size=16).hexdigest()))
        else:
            marks.append(id(leaf))
    return tuple(marks)


class Recorded:
    """The first batches of a generator, copied as they passed: generators fill the same array again."""

    def __init__(self) -> None:
        self.batches: list[Any] = []

    def of(self, generator: Generator[Any, None, None]) -> Generator[Any, None, None]:
        """The same generator, recorded."""
        for item in generator:
            if len(self.batches) < BATCHES_KEPT:
                self.batches.append(copied(item))
            yield item


def copied(data: Any) -> Any:
    """Nested data with its NumPy arrays copied; tensors are left as they are."""
    copy = lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf  # noqa: E731
    return keras.tree.map_structure(copy, data, none_is_leaf=True)
