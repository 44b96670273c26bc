"""Where in the user's files something happens that an experiment found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras

from lossproof.capture.place import place_of_traceback
from lossproof.findings.finding import Place
from lossproof.lab.lab import Lab
from lossproof.lab.subject import Subject


def place_of_result(lab: Lab, subject: Subject) -> Place | None:
    """The expression whose value the user's function returns; where the subject stands, if none can be seen."""
    found = lab.attempt(lambda: lab.trace(subject))
    own = [event for event in found.events if event.value is found.result and event.depth == 0] if found else []
    computed = [event for event in own if event.kind not in ("name", "attribute")]
    return lab.place_of_event((computed or own)[-1]) if own else lab.place(subject)


def place_of_use(lab: Lab, subject: Subject) -> Place | None:
    """The user's expression that hands a subject's predictions to a function not the user's; else its place."""
    leaves = {id(leaf) for leaf in keras.tree.flatten(subject.traceable()[1][1:])}
    calls = [one for one in lab.trace(subject).events if one.kind == "call"]
    used = [one for one in calls if any(id(leaf) in leaves for o in one.operands for leaf in _leaves(o.value))]
    return lab.place_of_event(used[-1]) if used else lab.place(subject)


def place_of_predictions_use(lab: Lab) -> Place | None:
    """The user's expression that hands the predictions, as the model made them, to a function not the user's."""
    for subject in lab.subjects:
        leaves = {id(leaf) for leaf in keras.tree.flatten(subject.y_pred)}
        for event in reversed(lab.trace(subject).events):
            if event.kind == "call" and any(id(operand.value) in leaves for operand in event.operands):
                return replace(lab.place_of_event(event), labels=())
    return lab.place(lab.subjects[0]) if lab.subjects else lab.capture.where


def place_of_failure(lab: Lab) -> Place | None:
    """The innermost of the user's expressions in which the captured call failed; the call itself at the outermost."""
    error = lab.capture.error
    own = place_of_traceback(error.__traceback__) if error is not None else None
    return own if own is not None else lab.capture.where


def _leaves(value: Any) -> list[Any]:
    return keras.tree.flatten(value) if isinstance(value, (list, tuple, dict)) else [value]
