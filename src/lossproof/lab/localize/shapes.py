"""Reads shapes of any backend's tensors, and finds the tensors in nested values."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

Shape = tuple[int | None, ...]


def shape_of(value: Any) -> Shape | None:
    """The shape of a tensor, None for its unknown axes; None for what has no shape, or an unknown rank."""
    try:
        return tuple(int(size) if isinstance(size, Integral) else None for size in value.shape)
    except Exception:  #  `shape` of an arbitrary object may be anything and do anything
        return None


def leaves(value: Any) -> Iterator[Any]:
    """What stands in nested tuples, lists and dicts; anything else is its own only leaf."""
    return _leaves(value, ())


def tensors(value: Any) -> list[Any]:
    """The leaves of a value that have a shape."""
    return [leaf for leaf in leaves(value) if shape_of(leaf) is not None]


def shape_text(value: Any) -> str | None:
    """The shapes in a value, as in `(32, 1)`, or `(32,), (32, 1)` for a pair; None where there is none."""
    shapes = [str(shape_of(tensor)) for tensor in tensors(value)]
    return ", ".join(shapes) or None


def _leaves(value: Any, around: tuple[int, ...]) -> Iterator[Any]:
    if not isinstance(value, tuple | list | dict):
        yield value
    elif id(value) not in around:  # a list may hold itself
        for held in value.values() if isinstance(value, dict) else value:
            yield from _leaves(held, (*around, id(value)))
