"""What every test may use. One process has one backend: `make test` runs the suite once for each."""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BACKENDS = ("tensorflow", "jax", "torch")
SEED = 1729

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_configure(config: pytest.Config) -> None:
    chosen = os.environ.get("KERAS_BACKEND", "")
    if chosen not in BACKENDS:
        # Without this, Keras would take what ~/.keras/keras.json says, and the run would test who knows what.
        raise pytest.UsageError(
            f"KERAS_BACKEND is {chosen or 'not set'!r}: set it to {', '.join(BACKENDS)} "
            "(KERAS_BACKEND=jax pytest tests), or run the suite on all of them with `make test`"
        )


def pytest_report_header() -> str:
    return f"keras backend: {os.environ['KERAS_BACKEND']}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `backend(...)` under the other backends."""
    chosen = os.environ["KERAS_BACKEND"]
    for item in items:
        for mark in item.iter_markers("backend"):
            if unknown := set(mark.args) - set(BACKENDS):
                raise pytest.UsageError(f"{item.nodeid}: unknown backend {', '.join(sorted(unknown))}")
            if chosen not in mark.args:
                item.add_marker(pytest.mark.skip(reason=f"for {', '.join(mark.args)} only"))


@pytest.fixture
def backend() -> str:
    """The backend of this run."""
    return os.environ["KERAS_BACKEND"]


@pytest.fixture(autouse=True)
def _same_start() -> None:
    """Every test starts from the same random numbers, and layers are named as in a new process."""
    random.seed(SEED)
    np.random.seed(SEED)
    if (keras := sys.modules.get("keras")) is not None:  # importing it costs seconds, and many tests do without
        keras.utils.set_random_seed(SEED)
        keras.utils.clear_session(free_memory=False)


MOST_MAPPINGS = 20_000
"""Of memory, by one process. Linux allows 65530, each program that JAX keeps takes a few, and XLA crashes at the limit."""


@pytest.fixture(scope="module", autouse=True)
def _few_programs() -> Iterator[None]:
    """JAX keeps every program that it compiled; over the whole suite that is more than one process may have."""
    yield
    jax = sys.modules.get("jax")
    mappings = Path("/proc/self/maps")
    if jax is None or (mappings.exists() and mappings.read_bytes().count(b"\n") < MOST_MAPPINGS):
        return
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def strict_ranks(backend: str) -> Iterator[None]:
    """JAX raises where an operand's rank is raised silently; for tests of our own numerics.

    Not for every test: scripts under test broadcast on purpose, and so does Keras (a bias added to a batch).
    """
    if backend != "jax":
        yield
        return
    import jax

    with jax.numpy_rank_promotion("raise"):
        yield


@dataclass(frozen=True)
class CheckedScript:
    """How `lossproof check --format json` ended on a script."""

    status: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        """The report: all of stdout, or this raises."""
        return json.loads(self.stdout)

    @property
    def codes(self) -> list[str]:
        """The codes of the errors and warnings."""
        return [f["code"] for f in self.report["findings"] if f["severity"] != "note"]


@pytest.fixture
def check_script(tmp_path: Path) -> Callable[..., CheckedScript]:
    """Runs `lossproof check --format json OPTIONS SCRIPT ARGS` in a process of its own, under this run's backend.

    Called with a path, or with source text, which is written to train.py of a temporary folder.
    """

    def check(script: Path | str, *args: str, options: tuple[str, ...] = (), timeout: float = 300.0) -> CheckedScript:
        if isinstance(script, str):
            path = tmp_path / "train.py"
            path.write_text(script, encoding="utf-8")
        else:
            path = script
        command = [sys.executable, "-m", "lossproof", "check", "--format", "json", *options, path.name, *args]
        done = subprocess.run(
            command,
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
        return CheckedScript(done.returncode, done.stdout, done.stderr)

    return check
