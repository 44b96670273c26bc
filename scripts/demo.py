"""Run `lossproof check` on the examples, and insist that it finds what is wrong with them (`make demo`)."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = {"examples/weighted_targets.py": "LP201", "examples/broadcast_pairs.py": "LP101"}
"""Each script with the code of its bug. The first goes wrong on TensorFlow only, the second on every backend."""
FOUND = 1
"""The exit status of `lossproof check` where it has findings. A crash of Python has the same, so it is not enough."""


def main() -> int:
    """Check every example; return 0 if each check exited with status 1 and named the bug, else 1."""
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if sys.stdout.isatty():  # the output passes through our hands, and should look as if it did not
        environment |= {"FORCE_COLOR": "1", "COLUMNS": str(shutil.get_terminal_size().columns)}
    failed = 0
    for example, code in EXAMPLES.items():
        command = ["lossproof", "check", example]
        print(f"$ KERAS_BACKEND=tensorflow {shlex.join(command)}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
        print(f"{done.stdout}[exit status {done.returncode}]\n", flush=True)
        if done.returncode != FOUND or code not in done.stdout:
            failed += 1
            print(f"demo: expected exit status {FOUND} and {code} in what is said of {example}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
