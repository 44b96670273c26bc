"""PyTorch's random generators: put back, started from a seed or from where they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from lossproof.lab.backends.host import (
    host_generators,
    host_present,
    host_state,
    kept_host_generators,
    set_host_state,
)


class TorchGenerators:
    """See `base.Backend`."""

    _present: tuple[Any, Any] | None = None

    @contextmanager
    def kept_randomness(self) -> Iterator[None]:
        states = _states()
        with kept_host_generators():
            try:
                yield
            finally:
                _set_states(states)

    @contextmanager
    def repeatable(self) -> Iterator[None]:
        with self.kept_randomness(), host_generators():
            if self._present is None:
                torch.random.manual_seed(0)
            else:
                _set_states(self._present)
            yield

    @contextmanager
    def from_present(self) -> Iterator[None]:
        before, self._present = self._present, _states()
        try:
            with host_present():
                yield
        finally:
            self._present = before

    def random_state(self) -> Any:
        return host_state(), torch.random.get_rng_state().numpy()

    def set_random_state(self, state: Any) -> None:
        set_host_state(state[0])
        torch.random.set_rng_state(torch.from_numpy(np.array(state[1])))


def _states() -> tuple[Any, Any]:
    """Of torch's global generators: on the CPU, and on each GPU that is in use."""
    return torch.random.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None


def _set_states(states: tuple[Any, Any]) -> None:
    torch.random.set_rng_state(states[0])
    if states[1] is not None:
        torch.cuda.set_rng_state_all(states[1])
