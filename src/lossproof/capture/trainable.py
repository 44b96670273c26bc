"""What `trainable` said of a model at a training call; scripts change it later: a teacher is frozen, a base is thawed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lossproof import keras_private

Flags = list[tuple[Any, bool]]
"""Each layer, outer ones before those inside them, then each variable."""


def flags_of(model: Any) -> Flags:
    """What `trainable` says now."""
    holders = [*keras_private.layers_of(model), *model.variables]
    return [(one, bool(one.trainable)) for one in holders]


@contextmanager
def trainable_as(flags: Flags) -> Iterator[None]:
    """Inside, `trainable` says what it said then; afterwards what it says now."""
    present = [(one, bool(one.trainable)) for one, _ in flags]
    if present == flags:
        yield
        return
    _set(flags)
    try:
        yield
    finally:
        _set(present)


def _set(flags: Flags) -> None:
    for one, said in flags:  # a layer hands it on to what it holds, which is set after it
        if bool(one.trainable) is not said:
            one.trainable = said
