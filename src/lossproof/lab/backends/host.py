"""The random generators of Python and NumPy, which every backend's scripts use as well, and PyTorch's.

On other backends a script may shuffle by PyTorch's `DataLoader`; as the backend, PyTorch looks after its own.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

_starts: list[Any] = [0]
"""From what `host_generators` begins: a seed, or the states of the generators."""


def host_state() -> tuple[Any, ...]:
    """The states of the generators; of PyTorch's, None where nothing has imported it or it is the backend."""
    torch = _torch()
    return random.getstate(), np.random.get_state(), None if torch is None else torch.get_rng_state().numpy()


def set_host_state(state: Any) -> None:
    """Bring them back."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch = _torch()
    if torch is not None and state[2] is not None:
        torch.set_rng_state(torch.from_numpy(np.array(state[2])))


def _torch() -> Any:
    module = sys.modules.get("torch")
    beside = module is not None and keras.backend.backend() != "torch" and hasattr(module, "get_rng_state")
    return module if beside else None


@contextmanager
def kept_host_generators() -> Iterator[None]:
    """Put the states of the generators back afterwards."""
    state = host_state()
    try:
        yield
    finally:
        set_host_state(state)


@contextmanager
def host_generators() -> Iterator[None]:
    """Seed `random`, NumPy's legacy global generator and PyTorch's inside, put their states back afterwards."""
    start = _starts[-1]
    with kept_host_generators():
        if isinstance(start, int):
            random.seed(start)
            np.random.seed(start)
            if (torch := _torch()) is not None:
                torch.default_generator.manual_seed(start)
        else:
            set_host_state(start)
        yield


@contextmanager
def host_seed(seed: int) -> Iterator[None]:
    """Inside, `host_generators` seeds with another number than 0."""
    with _start(seed):
        yield


@contextmanager
def host_present() -> Iterator[None]:
    """Inside, `host_generators` begins from the states that the generators have now."""
    with _start(host_state()):
        yield


@contextmanager
def _start(start: Any) -> Iterator[None]:
    _starts.append(start)
    try:
        yield
    finally:
        _starts.pop()
