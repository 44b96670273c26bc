"""Runs that are scripts, each in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from lossproof.comparison.recording import Recording
from lossproof.comparison.search import Cannot, Run
from lossproof.comparison.transplant import Transplant
from lossproof.process import run_module


class ScriptRun:
    """A script or notebook.

    Args:
        path: The file.
        arguments: Its `sys.argv[1:]`.
        backend: The Keras backend to run it on; None for what the environment or the script says.
        steps: How many steps of each training to record.
    """

    def __init__(self, path: Path, arguments: Sequence[str], backend: str | None, steps: int) -> None:
        self.name = str(path)
        self.path, self.arguments, self.backend, self._steps = path, list(arguments), backend, steps
        self.ran_on: str | None = None
        """The backend on which it ran when it was given nothing."""

    def record(self, transplant: Transplant | None = None, donor: Run | None = None) -> Recording:
        """See `search.Run`.

        Raises:
            Cannot: The process fails.
        """
        from lossproof.comparison.store import read, write

        organs = transplant.organs if transplant is not None else ()
        job = {
            "script": self.name,
            "arguments": self.arguments,
            "steps": self._steps,
            "transplant": transplant,
            "backend": self.backend,
            "donor": None,
        }
        if isinstance(donor, ScriptRun):
            if "backend" in organs:
                job["backend"] = donor.ran_on
            if "objective" in organs:
                job["donor"] = [donor.name, donor.arguments]
        with tempfile.TemporaryDirectory(prefix="lossproof-") as folder:
            write(job, Path(folder), "job")
            environment = {"KERAS_BACKEND": str(job["backend"])} if job["backend"] else {}
            _, last = run_module("lossproof.comparison.child", Path(folder), environment)
            try:
                recording: Recording = read(Path(folder), "recording")
            except OSError:
                raise Cannot(f"{self.name} could not be run: {last or 'no message'}") from None
        if transplant is None:
            self.ran_on = recording.backend
        return recording
