"""Run the tests once per backend: one process has one backend (`make test`).

Each run's output is shown whole when it ends, followed by a table of all runs. The exit status is 0 only if every run
passed and executed at least one test.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("tensorflow", "jax", "torch")
PARTS = (
    ("tests/contracts", "tests/objective", "tests/ledger", "tests/comparison", "tests/faults"),
    ("tests/rules/shape", "tests/rules/gradient"),
    (
        "tests/rules/execution",
        "tests/rules/wiring",
        "tests/rules/state",
        "tests/rules/persistence",
        "tests/rules/distribution",
    ),
)
"""What is tested in a process of its own, with one more for the rest: JAX keeps compiled programs, and each takes memory
mappings, of which a process may have 65530 on Linux. XLA crashes at the limit, with about 2000 tests in one process."""
NO_TESTS = 5
"""The exit status of pytest that found nothing to run, as under -k."""


@dataclass(frozen=True)
class Run:
    """One run of pytest: what it printed, how it ended and what it counted (None: it died before it could count)."""

    backend: str
    output: str
    status: int
    seconds: float
    passed: int | None = None
    failed: int | None = None
    skipped: int | None = None

    @property
    def good(self) -> bool:
        """Whether it ended well and something was tested."""
        return self.status == 0 and bool(self.passed)


def counts(junit: Path) -> tuple[int, int, int] | None:
    """Passed, failed (errors included) and skipped tests of a JUnit file; None if it was not written."""
    try:
        suites = ET.parse(junit).getroot().findall("testsuite")
    except (OSError, ET.ParseError):
        return None
    total, failures, errors, skipped = (
        sum(int(suite.get(key, 0)) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    )
    return total - failures - errors - skipped, failures + errors, skipped


def run(backend: str, pytest_args: Sequence[str]) -> Run:
    """Run the tests under one backend, in a process of their own."""
    start = time.perf_counter()
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        junit = Path(folder, "junit.xml")
        # Runs stand side by side, so they cannot share pytest's cache.
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={junit}", *pytest_args]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        counted = counts(junit)
    passed, failed, skipped = counted or (None, None, None)
    return Run(backend, done.stdout, done.returncode, time.perf_counter() - start, passed, failed, skipped)


def run_parts(backend: str, pytest_args: Sequence[str]) -> Run:
    """All tests under one backend, part by part; those that the arguments name, if they name any, in one process."""
    if any((ROOT / argument.partition("::")[0]).exists() for argument in pytest_args if not argument.startswith("-")):
        return run(backend, pytest_args)
    named = [path for part in PARTS for path in part]
    parts = [*PARTS, ("tests", *(f"--ignore={path}" for path in named))]
    runs = [run(backend, [*part, *pytest_args]) for part in parts]
    bad = [one.status for one in runs if one.status not in (0, NO_TESTS)]
    status = bad[0] if bad else min(one.status for one in runs)
    counted = [one for one in runs if one.status != NO_TESTS]
    died = any(one.passed is None for one in counted)

    def total(what: str) -> int | None:
        return None if died else sum(getattr(one, what) for one in counted)

    return Run(
        backend,
        "\n".join(one.output.rstrip() for one in runs),
        status,
        sum(one.seconds for one in runs),
        total("passed"),
        total("failed"),
        total("skipped"),
    )


def summary(runs: Sequence[Run]) -> str:
    """A table of the runs, and one line with their sum."""
    lines = [f"{'backend':12s}{'passed':>8s}{'failed':>8s}{'skipped':>9s}{'seconds':>9s}  exit"]
    for one in runs:
        numbers = ["?" if n is None else str(n) for n in (one.passed, one.failed, one.skipped)]
        remark = "" if one.good else "  FAILED" if one.status else "  FAILED: no test ran"
        lines.append(
            f"{one.backend:12s}{numbers[0]:>8s}{numbers[1]:>8s}{numbers[2]:>9s}{one.seconds:9.0f}  {one.status}{remark}"
        )
    passed, skipped = sum(one.passed or 0 for one in runs), sum(one.skipped or 0 for one in runs)
    # A run that failed without counting a failure (a crash, an error while collecting, no test) counts as one.
    failed = sum(max(one.failed or 0, 0 if one.good else 1) for one in runs)
    return "\n".join([*lines, "", f"{passed} passed, {failed} failed, {skipped} skipped"])


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description="Run the tests once per backend.")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side (default: %(default)s)")
    parser.add_argument("pytest_args", nargs="*", help="passed on to pytest, after --")
    args = parser.parse_args()
    backends = [name for name in args.backends.split(",") if name]
    if unknown := sorted(set(backends) - set(BACKENDS)):
        parser.error(f"unknown backend {', '.join(unknown)}: choose from {', '.join(BACKENDS)}")

    print(f"testing on {', '.join(backends)}, at most {args.jobs} at a time; each is shown when it ends", flush=True)
    finished: dict[str, Run] = {}
    with ThreadPoolExecutor(args.jobs) as pool:
        for future in as_completed([pool.submit(run_parts, backend, args.pytest_args) for backend in backends]):
            one = future.result()
            finished[one.backend] = one
            print(f"\n{f' {one.backend} ':#^100s}\n{one.output.rstrip()}", flush=True)
    runs = [finished[backend] for backend in backends]
    print(f"\n{' all backends ':#^100s}\n{summary(runs)}", flush=True)
    return 0 if runs and all(one.good for one in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
