"""Every expression that the user's code of a subject evaluates, with its value."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lossproof.lab.localize.events import Trace
from lossproof.lab.localize.recorder import Recorder
from lossproof.lab.replace import replaced
from lossproof.lab.step import run_step
from lossproof.lab.subject import StepSubject, Subject

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab


def traced(lab: Lab, subject: Subject, recorder: Callable[[], Recorder]) -> Trace:
    """See `Lab.trace`."""
    with lab.undisturbed():
        if isinstance(subject, StepSubject):
            return _traced_step(lab, subject, recorder)
        function, arguments = subject.traceable()
        if subject.kind in ("compute_loss", "add_loss"):  # which read the model's variables
            with lab.model.scope():
                return recorder().trace(function, *arguments)
        return recorder().trace(function, *arguments)


def _traced_step(lab: Lab, subject: StepSubject, recorder: Callable[[], Recorder]) -> Trace:
    outer: list[Trace] = []
    inner: list[Trace] = []

    def into(traces: list[Trace]) -> Callable[..., Any]:
        def run(function: Any, *arguments: Any, **named: Any) -> Any:
            given = functools.partial(function, **named) if named else function
            traces.append(recorder().trace(given, *arguments))
            error = traces[-1].error
            if error is not None:
                raise error
            return traces[-1].result

        return run

    with contextlib.ExitStack() as stack:
        for owner, name, make in lab.backend.differentiation(lambda _: None, into(inner)):
            stack.enter_context(replaced(owner, name, make))
        with contextlib.suppress(Exception):  # it is in the trace
            run_step(lab.model, subject.batch, functools.partial(into(outer), subject.function))
    if not outer:
        return Trace(())
    return replace(outer[0], events=(*(event for one in inner for event in one.events), *outer[0].events))
