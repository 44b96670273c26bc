"""The batches of one training, seen or replaced where Keras's data adapter hands them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from lossproof.lab.backends import running_backend


class Feed:
    """Stands between a data adapter and the training.

    Args:
        most: How many batches to keep.
        given: Batches to hand out in the place of the first ones; nested NumPy arrays.
    """

    def __init__(self, most: int, given: tuple[Any, ...] = ()) -> None:
        self.batches: list[Any] = []
        self._most = most
        self._given = given
        self._count = 0

    def begin(self) -> None:
        """Forget what was read before the training began: Keras reads a batch to build the model."""
        self.batches.clear()
        self._count = 0

    def pass_on(self, item: Any) -> Any:
        """The batch to train on in the place of the next one."""
        k, self._count = self._count, self._count + 1
        if k < len(self._given):
            item = self._given[k]
        if len(self.batches) < self._most:
            self.batches.append(as_arrays(item))
        return item

    def through(self, adapter: Any) -> Any:
        """Make a data adapter of Keras hand its batches out through here."""
        backend = running_backend()
        name = backend.batches_from
        original: Callable[[], Iterable[Any]] = getattr(adapter, name)
        example = self._given[0] if self._given else None
        setattr(adapter, name, lambda: backend.passing(original(), self.pass_on, example))
        return adapter


def as_arrays(data: Any) -> Any:
    """Nested tensors as nested NumPy arrays, copied."""
    convert = lambda leaf: None if leaf is None else np.array(keras.ops.convert_to_numpy(leaf))  # noqa: E731
    return _mapped(convert, data)


def _mapped(function: Callable[[Any], Any], data: Any) -> Any:
    if isinstance(data, (tuple, list)):
        return tuple(_mapped(function, part) for part in data)
    if isinstance(data, dict):
        return {key: _mapped(function, part) for key, part in data.items()}
    return function(data)
