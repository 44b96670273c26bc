"""Stand-ins for the owner of the target in `owner.name += value` and `owner[index] += value`.

Python reads the target from the stand-in, computes the new value, and writes it to the stand-in, which passes both on
and reports them. So the target is read once and written once, as in the original.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class ItemSlot:
    """Stands for `owner` in `owner[index] += value`."""

    __slots__ = ("_new", "_old", "_owner")

    def __init__(self, owner: Any, old: Callable[[Any], None], new: Callable[[Any], None]) -> None:
        self._owner, self._old, self._new = owner, old, new

    def __getitem__(self, index: Any) -> Any:
        value = self._owner[index]
        self._old(value)
        return value

    def __setitem__(self, index: Any, value: Any) -> None:
        self._owner[index] = value
        self._new(value)


class AttributeSlot:
    """Stands for `owner` in `owner.name += value`, whatever the name."""

    __slots__ = ("_parts",)

    def __init__(self, owner: Any, old: Callable[[Any], None], new: Callable[[Any], None]) -> None:
        object.__setattr__(self, "_parts", (owner, old, new))

    def __getattribute__(self, name: str) -> Any:
        owner, old, _ = object.__getattribute__(self, "_parts")
        value = getattr(owner, name)
        old(value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        owner, _, new = object.__getattribute__(self, "_parts")
        setattr(owner, name, value)
        new(value)
