"""What a loss makes of the rank that its targets are given on their way, against the rank in which they were passed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.noise import differs
from lossproof.lab.passed import passed_leaves
from lossproof.lab.subject import LossSubject
from lossproof.rules.rule import NotApplicable


@dataclass(frozen=True)
class ChangedRank:
    """A loss that is right with targets as they were passed, and wrong with the axis that they were given."""

    subject: LossSubject
    passed: tuple[int, ...]
    received: tuple[int, ...]
    before: float
    """The loss as it runs."""
    after: float
    """The same with the targets in the rank in which they were passed."""
    flat: float | None
    """The same with predictions of that rank as well; None where they have more than one column."""
    event: Event | None


def changed_rank(lab: Lab, subject: LossSubject) -> ChangedRank | None:
    """The proof that an axis of size 1, added on the way, changes what a loss computes; None where it does not.

    The axis is mostly there to help: `y_true - y_pred` needs it. So a loss is accused only if without it the value is
    another one, and that other one is beyond doubt: it is the same whether the predictions keep their axis of 1 or not;
    or, where they have more columns, each row's value is its own only without the axis.
    """
    found: ChangedRank | None = lab.attempt(partial(_changed_rank, lab, subject))
    return found


def _changed_rank(lab: Lab, subject: LossSubject) -> ChangedRank | None:
    passed = passed_leaves(lab, subject)
    if len(passed) != 1 or passed[0] is None or passed[0].ndim != 1:
        return None
    function, arguments = subject.traceable()
    y_true, y_pred = arguments
    if len(keras.tree.flatten(y_pred)) != 1 or not hasattr(y_pred, "shape"):
        return None
    shape = tuple(int(n) for n in y_true.shape)
    if shape != (*passed[0].shape, 1):
        return None
    flat = keras.ops.reshape(y_true, passed[0].shape)
    own, other = (_called(lab, function, target, y_pred) for target in (y_true, flat))
    if own is None or other is None or not (np.isfinite(own).all() and np.isfinite(other).all()):
        return None
    before, after = float(own.mean()), float(other.mean())
    if not differs(before, after, terms=own.size + other.size):
        return None
    third = None
    if int(np.prod(y_pred.shape)) == shape[0]:
        without = _called(lab, function, flat, keras.ops.reshape(y_pred, (-1,)))
        if without is None or differs(float(without.mean()), after, terms=without.size):
            return None
        third = float(without.mean())
    elif _of_rows(lab, function, y_true, y_pred, own) or not _of_rows(lab, function, flat, y_pred, other):
        return None
    event = lab.attempt(lambda: _parting(lab, subject, function, flat, y_pred))
    return ChangedRank(subject, passed[0].shape, shape, before, after, third, event)


def _called(lab: Lab, function: Callable[..., Any], y_true: Any, y_pred: Any) -> np.ndarray | None:
    def run() -> np.ndarray:
        with lab.undisturbed():
            return lab.number(keras.ops.convert_to_tensor(function(y_true, y_pred))).astype("float64")

    try:
        found: np.ndarray | None = lab.attempt(run)
    except NotApplicable:
        return None
    return found


def _of_rows(lab: Lab, function: Callable[..., Any], y_true: Any, y_pred: Any, values: np.ndarray) -> bool:
    """Whether there is one value for each row, which does not depend on the other rows."""
    half = len(values) // 2 if values.ndim else 0
    if values.ndim != 1 or len(values) != y_pred.shape[0] or not half:
        return False
    part = _called(lab, function, y_true[:half], y_pred[:half])
    return part is not None and part.shape == (half,) and bool(np.allclose(part, values[:half], rtol=1e-4))


def _parting(lab: Lab, subject: LossSubject, function: Callable[..., Any], flat: Any, y_pred: Any) -> Event | None:
    """The first expression that computes other numbers with the axis."""
    from lossproof.lab.localize.recorder import trace

    own = lab.trace(subject).events
    with lab.undisturbed():
        other = trace(function, flat, y_pred).events
    for one, two in zip(own, other, strict=False):
        if one.place != two.place:
            return None
        if not (lab.backend.is_concrete(one.value) and lab.backend.is_concrete(two.value)):
            continue
        a, b = lab.number(one.value), lab.number(two.value)
        if a.size != b.size or not np.allclose(a.ravel(), b.ravel(), rtol=1e-4):
            return one
    return None
