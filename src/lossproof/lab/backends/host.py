"""The random generators of Python and NumPy, which every backend's scripts use as well."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def host_generators() -> Iterator[None]:
    """Seed `random` and NumPy's legacy global generator inside, put their states back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
