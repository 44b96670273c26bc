"""What may be behind a difference, in the order in which it is tried, and how it is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lossproof.comparison.divergence import Difference
from lossproof.comparison.recording import Optimizer, Recording, Training

GIVEN = {
    "backend": "the backend",
    "mode": "the mode of execution",
    "functions": "the mode of execution, for functions that B compiles itself as well,",
    "rng": "the state of the random generators",
    "weights": "the initial weights",
    "batches": "the batches",
    "optimizer": "the optimizer, its settings and state,",
    "objective": "the objective",
}

LOOP = "optimizer.apply"
"""The `call` of a training loop of the script's own."""

OWN = {"weights": "weights", "batches": "batches"}
"""What is given of these stages itself."""

_UNPROVEN = {"weights": "initial weights", "loss": "loss value", "later": "step"}


def candidates(difference: Difference, a: Training, b: Training, runs: tuple[Recording, Recording]) -> Iterator[str]:
    """Organs of `transplant.ORGANS` that differ and can cause this difference, what lies deeper first."""
    stage = difference.stage
    if runs[0].backend != runs[1].backend:
        yield "backend"
    if LOOP in (a.call, b.call):  # into which nothing else can be given
        if a.mode != b.mode and a.mode == "eager" and stage not in ("model", "weights"):
            yield "functions"
        return
    own = OWN.get(stage)
    if own is not None:
        yield own
        return
    if stage == "model":
        return
    if stage in ("step", "later"):
        if a.optimizer is not None and b.optimizer is not None and not same_optimizer(a, b):
            yield "optimizer"
        if a.mode != b.mode:
            yield "mode"
        if a.mode == "eager":
            yield "functions"
    if not _equal([v.value for v in a.of_kind("seed")], [v.value for v in b.of_kind("seed")]) or not _equal(
        a.generators, b.generators
    ):
        yield "rng"
    yield "objective"


def same_optimizer(a: Training, b: Training) -> bool:
    """Whether two optimizers have the same settings and the same state."""
    assert a.optimizer is not None
    assert b.optimizer is not None
    return same_settings(a, b) and _equal(a.optimizer.state, b.optimizer.state)


def same_settings(a: Training, b: Training) -> bool:
    """Whether two optimizers are of one class and have the same settings, names apart."""
    assert a.optimizer is not None
    assert b.optimizer is not None
    configs = [_unnamed(one.optimizer.config) for one in (a, b) if one.optimizer is not None]
    return a.optimizer.name == b.optimizer.name and configs[0] == configs[1]


def changed_settings(a: Training, b: Training) -> Iterator[tuple[str, str, str]]:
    """(setting, of A, of B) where two optimizers differ."""
    if a.optimizer is None or b.optimizer is None:
        return
    if a.optimizer.name != b.optimizer.name:
        yield "optimizer", a.optimizer.name, b.optimizer.name
    both = [(one.optimizer.config or {}).get("config", {}) for one in (a, b) if one.optimizer is not None]
    for key in sorted({*both[0], *both[1]} - {"name"}):
        if both[0].get(key) != both[1].get(key):
            yield key, str(both[0].get(key)), str(both[1].get(key))
    if same_settings(a, b) and not _equal(a.optimizer.state, b.optimizer.state):
        yield "updates made before", _made(a.optimizer), _made(b.optimizer)


def _made(optimizer: Optimizer) -> str:
    counter = optimizer.state[0] if optimizer.state else None
    return str(int(counter)) if counter is not None and counter.dtype.kind in "iu" and counter.size == 1 else "?"


def kind_of(difference: Difference, organ: str | None) -> str:
    """The name of a divergence."""
    if organ == "functions":
        return "mode"
    if organ in ("backend", "mode", "rng", "optimizer"):
        return organ
    if difference.stage == "batches":
        return "data order" if difference.order_only else "batch"
    return _UNPROVEN.get(difference.stage, difference.stage)


def _unnamed(config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    inner = {key: value for key, value in config.get("config", {}).items() if key != "name"}
    return {**config, "config": inner}


def _equal(one: Any, two: Any) -> bool:
    if isinstance(one, (tuple, list)) and isinstance(two, (tuple, list)):
        return len(one) == len(two) and all(map(_equal, one, two))
    if isinstance(one, np.ndarray) or isinstance(two, np.ndarray):
        return np.array_equal(np.asarray(one), np.asarray(two))
    return bool(one == two)
