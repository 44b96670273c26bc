"""Losses that hold every prediction against every target, whatever the ranks of what they are given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.noise import differs
from lossproof.lab.shape.alignment import perfect_prediction, rows_that_meet
from lossproof.lab.subject import Subject, take

DEALS = 3
MOST = 64
"""Rows that are evaluated alone."""


@dataclass(frozen=True)
class AllPairs:
    """The proof that the rows of targets and predictions are not paired."""

    event: Event
    """The expression in which the two batch axes meet."""
    before: float
    """The loss as written."""
    dealt: float
    """With the targets dealt to other rows: the same."""
    after: float
    """The mean of the losses of each row alone, where there is only one target to be held against."""
    after_dealt: float
    perfect: tuple[float, float]
    """As written and row by row, with predictions equal to the targets."""


def all_pairs(lab: Lab, subject: Subject) -> AllPairs | None:
    """The proof for one loss, or None.

    Which target belongs to which row has no effect on the value, though the value depends on the targets; in the user's
    code an axis of the targets' rows meets one of the predictions' rows; and with perfect predictions the loss is no
    lower than with one and the same prediction for all rows. The last tells the bug from a distance between sets or
    distributions, which ignores the order of rows on purpose and is smallest where both are equal.
    """
    size = subject.batch_size
    if not 2 < size <= MOST or subject.y_true is None or subject.y_pred is None:
        return None
    subject = subject.changed(sample_weight=None)  # Keras applies them to what the loss returns
    before = _value(lab, subject)
    if before is None:
        return None
    random = np.random.default_rng(0)
    deals = [random.permutation(size) for _ in range(DEALS)]
    dealt = [_value(lab, _dealt(subject, rows)) for rows in deals]
    if any(one is None or differs(before, one, terms=size * size) for one in dealt):
        return None
    others = [_value(lab, _dealt(subject, np.full(size, row))) for row in (0, size // 2, size - 1)]
    if not any(one is not None and differs(before, one, terms=size * size) for one in others):
        return None  # the targets are not used
    after, after_dealt = _row_by_row(lab, subject), _row_by_row(lab, _dealt(subject, deals[0]))
    if after is None or after_dealt is None or not differs(after, after_dealt, terms=size):
        return None
    event = lab.attempt(lambda: rows_that_meet(lab, subject, deals[0]))
    if event is None:
        return None
    target = perfect_prediction(lab, subject)
    perfect = None if target is None else _both(lab, subject.changed(y_pred=target))
    if perfect is None or not _beaten(lab, subject, target, perfect):
        return None  # such as a distance between a column of the targets and the predictions
    return AllPairs(event, before, float(dealt[0] or 0.0), after, after_dealt, perfect)


def _beaten(lab: Lab, subject: Subject, target: object, perfect: tuple[float, float]) -> bool:
    """Whether some constant prediction is as good as the perfect ones as written, but not row by row."""
    size = subject.batch_size
    for row in range(size):
        constant = subject.changed(y_pred=take(target, np.full(size, row)))
        value = _value(lab, constant)
        if value is not None and (value <= perfect[0] or not differs(value, perfect[0], terms=size * size)):
            alone = _row_by_row(lab, constant)
            return alone is not None and perfect[1] < alone
    return False


def _both(lab: Lab, subject: Subject) -> tuple[float, float] | None:
    written, alone = _value(lab, subject), _row_by_row(lab, subject)
    return None if written is None or alone is None else (written, alone)


def _value(lab: Lab, subject: Subject) -> float | None:
    value: float | None = lab.attempt(partial(lab.value, subject))
    return value if value is not None and np.isfinite(value) else None


def _row_by_row(lab: Lab, subject: Subject) -> float | None:
    values = [_value(lab, subject.rows(np.array([row]))) for row in range(subject.batch_size)]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _dealt(subject: Subject, rows: np.ndarray) -> Subject:
    return subject.changed(y_true=keras.tree.map_structure(lambda leaf: take(leaf, rows), subject.y_true))
