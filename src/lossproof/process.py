"""Another Python process of ours, which is handed a folder and leaves its answer there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def run_module(
    module: str,
    folder: Path,
    environment: Mapping[str, str],
    directory: str | None = None,
    patience: float | None = None,
) -> tuple[int, str]:
    """Run `python -m module folder`, without its output.

    Args:
        module: Such as `lossproof.lab.visit`.
        folder: Its argument.
        environment: What is set in addition to this process's environment.
        directory: The working directory; this process's by default.
        patience: Seconds that it may take.

    Returns:
        The exit status, and the last line that it wrote to stderr (empty where it wrote none).

    Raises:
        subprocess.TimeoutExpired: It took longer.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder)],
        env={**os.environ, **environment},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        timeout=patience,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return done.returncode, lines[-1].strip() if lines else ""
