"""What a rule says of a `fit` that is traced and compiled as scripts do it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import keras
import numpy as np
import pytest

from lossproof.capture.watch import Watch
from lossproof.findings.finding import Finding
from lossproof.pipeline import judge

ROWS = 32


@pytest.fixture
def x() -> np.ndarray:
    """Inputs, shape (32, 3)."""
    return np.random.default_rng(1).normal(size=(ROWS, 3)).astype("float32")


Caught = Callable[..., list[Finding]]
Watched = Callable[[str, Callable[[], Any]], list[Finding]]


@pytest.fixture
def watched() -> Watched:
    """What a rule finds in whatever a function trains, which may fail: `(code, function)`."""

    def run(code: str, script: Callable[[], Any]) -> list[Finding]:
        with Watch(shorten=True) as watch, suppress(Exception):
            script()
        report = judge(watch.run, select=[code])
        assert not report.crashed, report.crashed
        assert not watch.defects, watch.defects
        assert watch.run.captures
        return list(report.findings)

    return run


@pytest.fixture
def caught(watched: Watched) -> Caught:
    """Compiles and fits a model: `(code, model, x, y, told={"loss": ...}, **arguments of fit)`."""

    def run(code: str, model: Any, x: Any, y: Any = None, told: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        def script() -> None:
            model.compile(optimizer=keras.optimizers.SGD(0.01), **(told or {"loss": "mse"}))
            model.fit(x, y, **{"verbose": 0, "batch_size": 16, **kwargs})

        return watched(code, script)

    return run
