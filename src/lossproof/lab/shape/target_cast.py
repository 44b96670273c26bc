"""A loss of its targets as they were passed, against the same of those that Keras casts to its dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.noise import HALF_OF_THE_DIGITS
from lossproof.lab.passed import all_passed, passed_leaves, with_targets
from lossproof.lab.predictions import float_leaves, with_float_leaves
from lossproof.lab.restated import widened
from lossproof.lab.shape.target_change import ChangedTargets, Kind, numbers_of
from lossproof.lab.subject import LossSubject

FEWEST = 8
"""Targets in a batch of which one can say how they differ."""


def in_loss(lab: Lab, subject: LossSubject) -> ChangedTargets | None:
    """The proof for a loss, whose targets Keras casts to its dtype."""
    passed = passed_leaves(lab, subject)
    dtype = str(subject.loss.dtype)
    leaves = keras.tree.flatten(subject.y_true)
    if dtype != "float32" or not any(array is not None for array in passed):
        return None
    arrived = [lab.number(keras.ops.convert_to_tensor(leaf, dtype=dtype)) for leaf in leaves]
    exact = [
        array.astype("float64").reshape(other.shape) if array is not None else other
        for array, other in zip(passed, arrived, strict=True)
    ]
    if all(np.array_equal(a, b, equal_nan=True) for a, b in zip(exact, arrived, strict=True)):
        return None
    if not all(np.isfinite(one).all() for one in exact):
        return None
    position = max(range(len(exact)), key=lambda i: float(np.abs(exact[i] - arrived[i]).max(initial=0.0)))
    at = exact[position], arrived[position]
    own = passed[position]
    assert own is not None
    numbers = numbers_of(*at)
    if own.dtype.kind == "f" and numbers["lost"] <= 16.0 * np.finfo("float32").eps * numbers["spread"]:
        return None  # of numbers that lie as far apart as they are large, only float32's own rounding is lost
    ways: dict[Kind, Callable[[], Found | None]] = {
        "value": lambda: _here(lab, subject, exact, arrived, own.dtype.kind == "f"),
        "neighbours": lambda: _next(lab, subject, exact, position, own),
        "rounded": lambda: _left(lab, subject, exact, position),
    }
    # A way that TensorFlow refuses, which mixes no float64 with numbers of the user's in float32, leaves the others.
    told = next(((kind, pair) for kind, way in ways.items() if (pair := lab.attempt(way)) is not None), None)
    if told is None:
        return None
    kind, (before, after, shifted) = told
    return ChangedTargets(
        subject=subject,
        kind=kind,
        passed=str(own.dtype),
        received=dtype,
        before=before,
        after=after,
        shifted=shifted,
        **numbers,
        event=lab.attempt(partial(_first_use, lab, subject, position)),
    )


Found = tuple[float, float, float | None]


def _here(
    lab: Lab,
    subject: LossSubject,
    exact: list[np.ndarray],
    arrived: list[np.ndarray],
    floating: bool,
) -> Found | None:
    """At the captured predictions."""
    received = _values(lab, subject, arrived, "float32")
    wide, control = (_values(lab, subject, one, "float64") for one in (exact, arrived))
    if wide.shape != received.shape or wide.shape != control.shape or not np.isfinite(wide).all():
        return None
    scale = float(np.abs(wide).mean())
    dealt = lab.attempt(lambda: _values(lab, subject, [np.roll(one, 1, axis=0) for one in exact], "float64"))
    if dealt is not None and np.isfinite(dealt).all():
        scale = max(scale, float(np.abs(dealt).mean()))
    # By the change of the targets, and in what is really computed: a threshold that a rounded target meets exactly is
    # rounded as well.
    by_targets, really = np.abs(control - wide), np.abs(received - wide)
    if not _beyond(by_targets, really, scale).any():
        return None
    random = np.random.default_rng(0)
    nudged = [one * (1.0 + 1e-12 * random.choice([-1.0, 1.0], size=one.shape)) for one in exact]
    if floating:
        edge = np.abs(_values(lab, subject, nudged, "float64") - wide)
        if _beyond(edge, edge, scale).any():
            return None  # the targets lie on an edge of the loss, where float64 does no better
    return _total(lab, subject, arrived, "float32"), _total(lab, subject, exact, "float64"), None


def _next(
    lab: Lab,
    subject: LossSubject,
    exact: list[np.ndarray],
    position: int,
    passed: np.ndarray,
) -> Found | None:
    """At predictions that are the next larger target, where targets are numbers to be met by the predictions."""
    leaves = float_leaves(lab, subject)
    if len(exact) != 1 or len(leaves) != 1 or int(np.prod(leaves[0].shape)) != exact[0].size:
        return None
    everything = all_passed(lab, position)
    source = everything if everything is not None and everything.dtype == passed.dtype else passed
    wide = np.asarray(source).astype("float64").ravel()
    lost = np.abs(wide.astype("float32") - wide).max(initial=0.0)
    ordered = np.unique(wide)
    spread = float(np.std(wide))
    if len(ordered) < 3 or not lost > HALF_OF_THE_DIGITS * spread > 0.0 or spread < 1e-12 * np.abs(wide).max():
        return None
    size = exact[0].size
    if passed.dtype.kind == "f" and not (ordered == np.round(ordered)).all():
        if not lost > spread * np.sqrt(HALF_OF_THE_DIGITS):
            return None  # of numbers of any digits, neighbours lie as close as there are many
        return _of_pairs(lab, subject, exact[0].ravel(), np.roll(exact[0].ravel(), 1), exact[0].shape)
    first = max(0, (len(ordered) - 1 - size) // 2)
    targets, guesses = ordered[:-1][first : first + size], ordered[1:][first : first + size]
    return _of_pairs(lab, subject, np.resize(targets, size), np.resize(guesses, size), exact[0].shape)


def _left(lab: Lab, subject: LossSubject, exact: list[np.ndarray], position: int) -> Found | None:
    """How many different targets there are, where rounding has changed them by more than half of their deviation."""
    own = exact[position]
    arrived = own.astype("float32").astype("float64")
    lost, spread = float(np.sqrt(np.mean((arrived - own) ** 2))), float(np.std(own))
    if own.size < FEWEST or not lost > 0.5 * spread > 0.0:
        return None
    factors = 1.0 + 0.5 * (1 + np.arange(own.size) % 3).reshape(own.shape)
    other = [one * factors if i == position else one for i, one in enumerate(exact)]
    here, there = (_values(lab, subject, one, "float32") for one in (exact, other))
    if np.array_equal(here, there):
        return None  # the loss makes nothing of its targets
    shifted = (own - np.round(np.mean(own))).astype("float32")
    counts = [float(len(np.unique(one))) for one in (arrived, own, shifted)]
    return (counts[0], counts[1], counts[2]) if counts[0] < 0.5 * counts[1] <= 0.5 * counts[2] else None


def _of_pairs(
    lab: Lab, subject: LossSubject, targets: np.ndarray, guesses: np.ndarray, shape: tuple[int, ...]
) -> Found | None:
    """The loss of targets with others for predictions; None unless most values are wrong by half or more."""
    targets = targets.reshape(shape)
    guesses = guesses.reshape(tuple(float_leaves(lab, subject)[0].shape))

    def at(offset: float, dtype: str, run: Callable[..., Any]) -> Any:
        return run(lab, subject, [targets - offset], dtype, guesses - offset)

    wide, received = at(0.0, "float64", _values), at(0.0, "float32", _values)
    if wide.shape != received.shape or not np.isfinite(wide).all():
        return None
    wrong = ~(np.abs(received - wide) <= 0.5 * np.abs(wide))
    if not wrong.mean() > 0.5:
        return None
    before, after = at(0.0, "float32", _total), at(0.0, "float64", _total)
    shifted = at(float(np.round(np.mean(targets))), "float32", _total)
    return before, after, shifted if abs(shifted - after) <= HALF_OF_THE_DIGITS * abs(after) else None


def _values(
    lab: Lab, subject: LossSubject, targets: Sequence[np.ndarray], dtype: str, guesses: np.ndarray | None = None
) -> np.ndarray:
    """What the user's function returns; in float64 of predictions in float32, where it mixes them with its own numbers."""
    if dtype == "float32":
        return lab.unreduced(_with(lab, subject, targets, dtype, dtype, guesses)).astype("float64")
    with lab.backend.double_precision():
        try:
            return lab.unreduced(_with(lab, subject, targets, dtype, "float64", guesses)).astype("float64")
        except Exception:  # TensorFlow refuses to mix float64 with a table in float32
            if guesses is not None:
                raise
            return lab.unreduced(_with(lab, subject, targets, dtype, "float32", None)).astype("float64")


def _total(
    lab: Lab, subject: LossSubject, targets: Sequence[np.ndarray], dtype: str, guesses: np.ndarray | None = None
) -> float:
    values = _values(lab, subject, targets, dtype, guesses)
    return float(values.mean())


def _with(
    lab: Lab,
    subject: LossSubject,
    targets: Sequence[np.ndarray],
    dtype: str,
    of_predictions: str,
    guesses: np.ndarray | None,
) -> LossSubject:
    wide = widened(subject) if of_predictions == "float64" else subject
    if guesses is not None:
        wide = with_float_leaves(lab, wide, [lab.backend.tensor(guesses, dtype=of_predictions)])
    changed = with_targets(wide, [lab.backend.tensor(one, dtype=dtype) for one in targets])
    if dtype != of_predictions:
        changed = changed.changed(precision="as they are")
    assert isinstance(changed, LossSubject)
    return changed


def _beyond(by_targets: np.ndarray, really: np.ndarray, scale: float) -> np.ndarray:
    return np.asarray(~(by_targets <= HALF_OF_THE_DIGITS * scale) & ~(really <= HALF_OF_THE_DIGITS * scale))


def _first_use(lab: Lab, subject: LossSubject, position: int) -> Event | None:
    """The user's expression in which the target is read first by another one."""
    arguments = subject.traceable()[1]
    target = keras.tree.flatten(arguments[0])[position]
    values = lab.number(target)
    for event in lab.trace(subject).events:
        if event.kind == "name" or not event.operands:
            continue
        for operand in event.operands:
            value = operand.value
            if (
                lab.backend.is_concrete(value)
                and tuple(value.shape) == values.shape
                and np.array_equal(lab.number(value), values)
            ):
                return event
    return None
