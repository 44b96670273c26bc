"""What a check costs: wall time and peak memory against the script itself, and the numeric proof against gradcheck.

    python benchmarks/run.py [--backends tensorflow,jax,torch] [--scripts mlp,cnn,lstm] [--repeats 3]

Everything is a ratio of two measurements of the same run, taken in turns. On a busy machine the processor time tells more
than the clock. The script alone is cut to one step by Keras's
own `KERAS_MAX_EPOCHS` and `KERAS_MAX_STEPS_PER_EPOCH`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cost:
    """Wall time and processor time in seconds, and peak resident memory in MiB, of one process."""

    seconds: float
    processor: float
    mebibytes: float


def cost(command: list[str], backend: str, **environment: str) -> Cost:
    """Run a command to its end and measure it."""
    env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    began = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def compare(script: str, backend: str, repeats: int) -> tuple[Cost, Cost]:
    """The script alone cut to one step, and its check, in turns; medians."""
    path = str(HERE / "scripts" / f"{script}.py")
    alone, checked = [], []
    for _ in range(repeats):
        alone.append(cost([sys.executable, path], backend, KERAS_MAX_EPOCHS="1", KERAS_MAX_STEPS_PER_EPOCH="1"))
        checked.append(cost([sys.executable, "-m", "lossproof", "check", path], backend))
    return _median(alone), _median(checked)


def _median(costs: list[Cost]) -> Cost:
    fields = ("seconds", "processor", "mebibytes")
    return Cost(*(statistics.median(getattr(cost, field) for cost in costs) for field in fields))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="tensorflow,jax,torch")
    parser.add_argument("--scripts", default="mlp,cnn,lstm")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(
        "| script | backend | python S, one step | lossproof check S | time ratio | processor time ratio | memory ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    for script in options.scripts.split(","):
        for backend in options.backends.split(","):
            alone, checked = compare(script, backend, options.repeats)
            print(
                f"| {script} | {backend} | {alone.seconds:.1f} s, {alone.mebibytes:.0f} MiB "
                f"| {checked.seconds:.1f} s, {checked.mebibytes:.0f} MiB "
                f"| {checked.seconds / alone.seconds:.2f} | {checked.processor / alone.processor:.2f} "
                f"| {checked.mebibytes / alone.mebibytes:.2f} |",
                flush=True,
            )
    if "torch" in options.backends.split(","):
        print()
        subprocess.run(
            [sys.executable, str(HERE / "gradcheck.py")], check=True, env={**os.environ, "KERAS_BACKEND": "torch"}
        )


if __name__ == "__main__":
    main()
