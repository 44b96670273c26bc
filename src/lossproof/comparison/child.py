"""The process in which one script is recorded: `python -m lossproof.comparison.child FOLDER`."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lossproof.comparison.recording import Recording
from lossproof.comparison.store import read, write
from lossproof.lab.failure import in_words
from lossproof.pipeline import Misuse, watched_script


def main(folder: Path) -> int:
    """Record the script of the job that lies in a folder, and lay the recording beside it."""
    job = read(folder, "job")
    if job["backend"] is not None and job["transplant"] is not None and "backend" in job["transplant"].organs:
        import keras  # noqa: F401 - before the script can choose another backend
    donated = None
    try:
        if job["donor"] is not None:
            donated = _harvest(job)
        recording = _record(job, donated)
    except Misuse as error:
        sys.stderr.write(f"{error}\n")
        return 2
    write(recording, folder, "recording")
    return 0


def _record(job: dict[str, Any], donated: Any) -> Recording:
    made: list[Any] = []

    @contextmanager
    def beside() -> Iterator[None]:
        from lossproof.comparison.recorder import Recorder

        made.append(Recorder(job["transplant"], donated, job["steps"]))
        with made[0].installed():
            yield

    with watched_script(Path(job["script"]), job["arguments"], beside=beside) as (_, outcome):
        error = None
        if outcome.exception is not None and not outcome.stopped_early:
            error = in_words(outcome.exception)
        if not made:
            return Recording(job["script"], "none", "none", (), error or "it never imported keras")
        recording: Recording = made[0].recording(job["script"], error)
        return recording


def _harvest(job: dict[str, Any]) -> Any:
    """The model of the other script's training, just before it begins."""
    made: list[Any] = []
    states: list[Any] = []
    host = random.getstate(), np.random.get_state()  # noqa: NPY002 - scripts use it

    @contextmanager
    def beside() -> Iterator[None]:
        from lossproof.comparison.recorder import Recorder
        from lossproof.lab.backends import running_backend

        states.append(running_backend().random_state())
        made.append(Recorder(steps=job["steps"], harvest=job["transplant"].donor_number))
        with made[0].installed():
            yield

    script, arguments = job["donor"]
    with watched_script(Path(script), arguments, beside=beside):
        pass
    if not made or made[0].harvested is None:
        return None
    import keras

    from lossproof.comparison.implant import Donated
    from lossproof.lab.backends import running_backend

    keras.utils.clear_session(free_memory=False)  # layers are named as in a new process
    running_backend().set_random_state(states[0])
    random.setstate(host[0])
    np.random.set_state(host[1])  # noqa: NPY002
    return Donated(made[0].harvested)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
