"""What the tests of capture share: scripts written to a folder, run by Python itself and by us."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

Completed = subprocess.CompletedProcess[str]

DRIVER = """
import atexit, sys
from lossproof.capture.script import run_script

atexit.register(print, "the last thing the host prints")
outcome = run_script(sys.argv[1], sys.argv[2:])
print("host:", outcome.end, outcome.status, outcome.threads)
sys.stdout.flush()
sys.stderr.write(outcome.traceback or "")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def write(folder: Path) -> Callable[[Mapping[str, str | bytes]], None]:
    """Writes files, given as name -> text (dedented) or bytes, into `folder`."""

    def write(files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else dedent(content).encode())

    return write


@pytest.fixture
def python(folder: Path) -> Callable[..., Completed]:
    """Runs `python ARGS...` in `folder`."""

    def python(*args: str) -> Completed:
        return subprocess.run(
            [sys.executable, *args],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    return python


@pytest.fixture
def driven(write: Callable[..., None], python: Callable[..., Completed]) -> Callable[[str], Completed]:
    """Runs a script by `run_script` in a process that has done nothing else; the host's own lines are marked."""

    def driven(source: str) -> Completed:
        write({"train.py": source, "driver/drive.py": DRIVER})
        return python("driver/drive.py", "train.py")

    return driven
