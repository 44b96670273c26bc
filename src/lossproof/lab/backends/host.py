"""The random generators of Python and NumPy, which every backend's scripts use as well."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_seeds = [0]


def host_state() -> tuple[Any, ...]:
    """The states of Python's and NumPy's generators."""
    return random.getstate(), np.random.get_state()


def set_host_state(state: Any) -> None:
    """Bring them back."""
    random.setstate(state[0])
    np.random.set_state(state[1])


@contextmanager
def kept_host_generators() -> Iterator[None]:
    """Put the states of both generators back afterwards."""
    state = host_state()
    try:
        yield
    finally:
        set_host_state(state)


@contextmanager
def host_generators() -> Iterator[None]:
    """Seed `random` and NumPy's legacy global generator inside, put their states back afterwards."""
    with kept_host_generators():
        random.seed(_seeds[-1])
        np.random.seed(_seeds[-1])
        yield


@contextmanager
def host_seed(seed: int) -> Iterator[None]:
    """Inside, `host_generators` seeds with another number than 0."""
    _seeds.append(seed)
    try:
        yield
    finally:
        _seeds.pop()
