"""What an objective makes of its targets as the user passed them, against what it makes of those that arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.passed import all_passed, passed_leaves, with_targets
from lossproof.lab.predictions import float_leaves, with_float_leaves
from lossproof.lab.restated import widened
from lossproof.lab.subject import LossSubject, Subject

Kind = Literal["value", "neighbours", "arithmetic"]

HALF = float(np.sqrt(np.finfo("float32").eps))
"""Half of the digits of float32, as a relative error: less is rounding, or an ill-conditioned sum of it."""


@dataclass(frozen=True)
class ChangedTargets:
    """An objective whose value is another one with the targets that were passed."""

    subject: Subject
    kind: Kind
    """`value`: the numbers are others when they arrive; `neighbours`: so much so that targets cannot be told from the
    next ones; `arithmetic`: the numbers are the same, but arithmetic in their dtype wraps around."""
    passed: str
    received: str
    """Dtypes."""
    before: float
    """The objective of the targets that arrive."""
    after: float
    """The same of those that were passed, computed exactly (float64, or another wider dtype)."""
    shifted: float | None
    """The same in the received dtype, of targets and predictions less the mean of the targets."""
    changed: int
    """How many numbers are others when they arrive."""
    of: int
    examples: tuple[tuple[float, float], ...]
    """A few of them: as passed, as received."""
    lost: float
    """The largest change of a target."""
    spread: float
    """The standard deviation of the targets."""
    event: Event | None


def changed_targets(lab: Lab, subject: Subject) -> ChangedTargets | None:
    """The proof that the targets' way into an objective changes its value; None where it does not.

    Half precision is another rule's matter, and nothing is said of a loss that cannot be computed in a wider dtype.
    """
    if isinstance(subject, LossSubject):
        found: ChangedTargets | None = lab.attempt(partial(_in_loss, lab, subject))
        return found
    wrapped: ChangedTargets | None = lab.attempt(partial(_in_arithmetic, lab, subject))
    return wrapped


# A loss, whose targets Keras casts -----------------------------------------------------------------------------------


def _in_loss(lab: Lab, subject: LossSubject) -> ChangedTargets | None:
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
    numbers = _numbers(*at)
    if own.dtype.kind == "f" and numbers["lost"] <= 16.0 * np.finfo("float32").eps * numbers["spread"]:
        return None  # of numbers that lie as far apart as they are large, only float32's own rounding is lost
    kind: Kind = "value"
    pair = _here(lab, subject, exact, arrived, own.dtype.kind == "f")
    if pair is None:
        kind, pair = "neighbours", _next(lab, subject, exact, position, own)
    if pair is None:
        return None
    before, after, shifted = pair
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
    if len(ordered) < 3 or not lost > HALF * spread > 0.0 or spread < 1e-12 * np.abs(wide).max():
        return None
    size = exact[0].size
    if passed.dtype.kind == "f" and not (ordered == np.round(ordered)).all():
        if not lost > spread * np.sqrt(HALF):
            return None  # of numbers of any digits, neighbours lie as close as there are many
        return _of_pairs(lab, subject, exact[0].ravel(), np.roll(exact[0].ravel(), 1), exact[0].shape)
    first = max(0, (len(ordered) - 1 - size) // 2)
    targets, guesses = ordered[:-1][first : first + size], ordered[1:][first : first + size]
    return _of_pairs(lab, subject, np.resize(targets, size), np.resize(guesses, size), exact[0].shape)


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
    return before, after, shifted if abs(shifted - after) <= HALF * abs(after) else None


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
    return np.asarray(~(by_targets <= HALF * scale) & ~(really <= HALF * scale))


def _numbers(exact: np.ndarray, arrived: np.ndarray) -> dict[str, Any]:
    others = np.flatnonzero(exact.ravel() != arrived.ravel())
    size = np.abs(exact.ravel() - arrived.ravel())
    worst = others[np.argsort(-size[others], kind="stable")][:3]
    return {
        "changed": len(others),
        "of": exact.size,
        "examples": tuple((float(exact.ravel()[i]), float(arrived.ravel()[i])) for i in worst),
        "lost": float(size.max(initial=0.0)),
        "spread": float(np.std(exact)),
    }


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


# Arithmetic in the dtype of the targets ------------------------------------------------------------------------------


def _in_arithmetic(lab: Lab, subject: Subject) -> ChangedTargets | None:
    """A `compute_loss` or `train_step`, which receives integers as they are (JAX: in 32 bits)."""
    passed = passed_leaves(lab, subject)
    leaves = keras.tree.flatten(subject.y_true)
    places = [i for i, array in enumerate(passed) if array is not None and array.dtype.kind in "biu"]
    if not places:
        return None
    received = lab.value(subject)
    if not np.isfinite(received) or lab.value(subject) != received:
        return None
    totals: list[tuple[float, Subject]] = []
    for form in _forms([passed[i] for i in places]):  # type: ignore[misc]
        tensors = list(leaves)
        with lab.backend.double_precision():
            for i in places:
                array = passed[i]
                tensors[i] = lab.backend.tensor(array.reshape(tuple(leaves[i].shape)), dtype=form)  # type: ignore[union-attr]
            other = with_targets(subject, tensors)
            try:
                totals.append((lab.value(other), other))
            except Exception:  # code that insists on a dtype
                continue
    values = [value for value, _ in totals]
    if not values or not np.isfinite(values).all():
        return None
    scale = max(abs(received), *map(abs, values))
    if max(values) - min(values) > HALF * scale or not abs(received - values[0]) > HALF * scale:
        return None
    position = places[0]
    exact = passed[position].astype("float64")  # type: ignore[union-attr]
    arrived = lab.number(leaves[position]).astype("float64").reshape(exact.shape)
    same = np.array_equal(exact, arrived)
    return ChangedTargets(
        subject=subject,
        kind="arithmetic" if same else "value",
        passed=str(passed[position].dtype),  # type: ignore[union-attr]
        received=keras.backend.standardize_dtype(leaves[position].dtype),
        before=received,
        after=values[0],
        shifted=None,
        **_numbers(exact, arrived),
        event=lab.attempt(partial(_where_it_wraps, lab, subject, totals[0][1])),
    )


def _forms(arrays: list[np.ndarray]) -> Iterator[str]:
    """Wider dtypes that hold all of the numbers: exact answers, however they are computed, are one answer."""
    largest = max(float(np.abs(one.astype("float64")).max(initial=0.0)) for one in arrays)
    yield "float32" if largest <= 2.0**24 / 256 else "float64"
    if all(one.dtype.kind != "b" for one in arrays):
        yield "int64"


def _where_it_wraps(lab: Lab, subject: Subject, exact: Subject) -> Event | None:
    """The first expression whose value is another one in a wider dtype."""
    own = lab.trace(subject).events
    with lab.backend.double_precision():
        wide = lab.trace(exact).events
        for one, other in zip(own, wide, strict=False):
            if one.place != other.place:
                return None
            if not (lab.backend.is_concrete(one.value) and lab.backend.is_concrete(other.value)):
                continue
            a, b = (lab.number(event.value).astype("float64") for event in (one, other))
            if a.shape == b.shape and not np.allclose(a, b, rtol=HALF, atol=0.0, equal_nan=True):
                return one
    return None
