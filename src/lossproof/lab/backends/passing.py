"""Batches that go through a function on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Passing:
    """An iterable whose items go through a function."""

    def __init__(self, items: Iterable[Any], function: Callable[[Any], Any]) -> None:
        self._items, self._function = items, function

    def __iter__(self) -> Iterator[Any]:
        return (self._function(item) for item in self._items)

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type]
