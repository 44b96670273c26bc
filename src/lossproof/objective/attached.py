"""Keeps a value for a structure of tensors, as long as the first of them lives."""

from __future__ import annotations

import threading
import weakref
from typing import Any

MOST = 8
"""Of how many structures a thread keeps values: tensors of a compiled graph live as long as it does."""


class Attachment:
    """Values by the identity of tensors, which some backends neither hash nor give attributes; each thread has its own."""

    def __init__(self) -> None:
        self._own = threading.local()

    def attach(self, tensors: Any, value: Any) -> None:
        """Keep `value` for `tensors`; a tensor that is collected takes it along. It must not hold the first of them."""
        first, kept = first_of(tensors), self._kept()
        key = id(first)

        def forget(gone: weakref.ref[Any]) -> None:
            if key in kept and kept[key][0] is gone:
                del kept[key]

        kept[key] = (weakref.ref(first, forget), value)
        while len(kept) > MOST:
            kept.pop(next(iter(kept)), None)

    def of(self, tensors: Any) -> Any:
        """What was kept for the same tensors, or None."""
        first = first_of(tensors)
        reference, value = self._kept().get(id(first), (None, None))
        return value if reference is not None and reference() is first else None

    def _kept(self) -> dict[int, tuple[weakref.ref[Any], Any]]:
        if not hasattr(self._own, "kept"):
            self._own.kept = {}
        kept: dict[int, tuple[weakref.ref[Any], Any]] = self._own.kept
        return kept


def first_of(tensors: Any) -> Any:
    """The first tensor of a structure, in the order of its making; None if there is none."""
    if not isinstance(tensors, (dict, list, tuple)):
        return tensors
    for one in tensors.values() if isinstance(tensors, dict) else tensors:
        first = first_of(one)
        if first is not None:
            return first
    return None
