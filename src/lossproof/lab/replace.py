"""Replace an attribute for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Inside, `owner.name` is `make(original)`; afterwards it is as before, inherited again where it was inherited."""
    own = vars(owner).get(name) if name in vars(owner) else None
    inherited = name not in vars(owner)
    setattr(owner, name, make(getattr(owner, name)))
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
