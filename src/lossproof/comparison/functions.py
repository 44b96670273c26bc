"""Runs that are Python functions, in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lossproof.capture.script import EnoughSeen
from lossproof.comparison.recording import Recording
from lossproof.comparison.search import Run
from lossproof.comparison.transplant import Transplant
from lossproof.lab.failure import in_words


class FunctionRun:
    """A function without arguments that builds, compiles and trains a model.

    Each time it is run the random generators stand where they stood when this object was made.
    """

    def __init__(self, function: Callable[[], Any], steps: int) -> None:
        from lossproof.lab.backends import running_backend

        self.name = getattr(function, "__name__", type(function).__name__)
        self._function, self._steps = function, steps
        self._state = running_backend().random_state()

    def record(self, transplant: Transplant | None = None, donor: Run | None = None) -> Recording:
        """See `search.Run`."""
        from lossproof.comparison.implant import Donated
        from lossproof.comparison.recorder import Recorder

        donated = None
        if transplant is not None and "objective" in transplant.organs and isinstance(donor, FunctionRun):
            harvester = Recorder(steps=self._steps, harvest=transplant.donor_number)
            donor.run_under(harvester)
            donated = Donated(harvester.harvested) if harvester.harvested is not None else None
        recorder = Recorder(transplant, donated, self._steps)
        error = self.run_under(recorder)
        return recorder.recording(self.name, error)

    def run_under(self, recorder: Any) -> str | None:
        """Run the function once while a recorder is installed; what it raised, in words."""
        from lossproof.capture.watch import Watch
        from lossproof.lab.backends import running_backend

        before = running_backend().random_state()
        running_backend().set_random_state(self._state)
        try:
            with recorder.installed(), Watch(shorten=True):
                self._function()
        except EnoughSeen:
            return None
        except Exception as error:  # it is told in the comparison
            return in_words(error)
        finally:
            running_backend().set_random_state(before)
        return None
