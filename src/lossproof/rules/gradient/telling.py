"""How LP203 and LP204 tell of a `Trouble`: where it is met, on which rows, with which numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lossproof.findings.finding import Place

if TYPE_CHECKING:
    from lossproof.lab.gradient.trouble import Trouble
    from lossproof.lab.lab import Lab

SHOWN = 5


def where_met(trouble: Trouble) -> str:
    """On which inputs, for a title."""
    if trouble.partial:
        return f"on a last batch of {trouble.batch}"
    if trouble.reach == "confident":
        return "where a prediction is right and as sure as it can be"
    if not trouble.rows or trouble.affected == trouble.searched:
        return f"on {'the first' if trouble.reach == 'captured' else 'a'} batch of {trouble.batch}"
    if trouble.affected == 1:
        return f"because of 1 row of {trouble.searched}"
    return f"because of {trouble.affected} rows of {trouble.searched}"


def last_batch(trouble: Trouble) -> str:
    """Why a batch is smaller than the others, in a sentence."""
    left = "a single row is" if trouble.batch == 1 else f"{trouble.batch} rows are"
    return f"The number of rows is no multiple of the batch size: {left} left for the last batch."


def measured(trouble: Trouble) -> str:
    """What was looked at."""
    if trouble.searched != trouble.batch:
        return f"{trouble.searched} rows of the data"
    return f"1 batch of {trouble.batch}"


def numbers(trouble: Trouble) -> str:
    """The numbers at the first place of trouble, as `y_true 1, y_pred 0.5`."""
    told = []
    for name, values in trouble.examples:
        listed = ", ".join(f"{value:.4g}" for value in values)
        more = ", ..." if len(values) > 3 else ""
        told.append(f"{name} {listed}" if len(values) == 1 else f"{name} [{listed}{more}]")
    return ", ".join(told)


def rows(trouble: Trouble) -> str:
    """Which rows, as `rows 3, 17 and 40`."""
    few = [str(row) for row in trouble.rows[:SHOWN]]
    rest = trouble.affected - len(few)
    if len(few) == 1:
        return f"row {few[0]}"
    listed = ", ".join(few) if rest > 0 else f"{', '.join(few[:-1])} and {few[-1]}"
    return f"rows {listed}" + (f" and {rest} more" if rest > 0 else "")


def evidence(trouble: Trouble) -> dict[str, object]:
    """The numbers behind a finding, ready for JSON."""
    return {
        "subject": trouble.subject.name if trouble.subject is not None else None,
        "reach": trouble.reach,
        "rows": list(trouble.rows[:32]),
        "affected": trouble.affected,
        "searched": trouble.searched,
        "at": {name: [repr(value) for value in values] for name, values in trouble.examples},
        "modes": trouble.modes or None,
    }


def place(lab: Lab, trouble: Trouble) -> Place | None:
    """The expression in which it is born; the call where the numbers came in like that; else the loss."""
    event = trouble.event
    if trouble.arrived is not None:
        return lab.capture.where
    if event is not None and event.operands:
        return lab.place_of_event(event)
    if trouble.subject is not None:
        return lab.place(trouble.subject)
    if lab.overrides_train_step:
        return lab.place_of_method("train_step")
    compiled = lab.capture.compiled
    return compiled.where if compiled is not None and compiled.where is not None else lab.capture.where


def reported(logs: Sequence[dict[str, float]]) -> list[str]:
    """The logs of the run itself that were not finite."""
    return sorted({key for one in logs for key, value in one.items() if not math.isfinite(value)})
