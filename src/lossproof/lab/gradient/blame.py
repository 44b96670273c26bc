"""Who is to blame for a batch on which something is not finite: which loss or layer, which rows, and what cures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.capture.batch import count_rows
from lossproof.findings.finding import Severity
from lossproof.lab.blind import Point
from lossproof.lab.bounds import confident
from lossproof.lab.evaluation import evaluate
from lossproof.lab.gradient.births import birth_in_model, birth_of_gradient, birth_of_value, numbers_at
from lossproof.lab.gradient.reach import Found, captured_rows, census, whole
from lossproof.lab.gradient.slopes import slope_of_entry
from lossproof.lab.gradient.trouble import Cure, Kind, Reach, Trouble, example, finite, kind_of, measure
from lossproof.lab.gradient.weight_connection import look_at_weights
from lossproof.lab.lab import Lab
from lossproof.lab.minimised import minimised
from lossproof.lab.predictions import look, look_here, tensor_like
from lossproof.lab.received import Batch
from lossproof.lab.subject import Subject, take
from lossproof.lab.subjects import loss_subject

ALONE = 64
"""How many groups of rows are tried where a batch does not say which of its rows is to blame."""


def subjects_on(lab: Lab, batch: Batch) -> list[Subject]:
    """The subjects of the total, on another batch."""
    if batch is lab.batch:
        return [one for one in lab.once(minimised) if one is not lab.step]
    evaluation = evaluate(lab.model, batch, lab.overrides_train_step)
    parts = lab.once(minimised)
    found: list[Subject] = []
    for position, heard in enumerate(evaluation.losses):
        known = lab.losses[position] if position < len(lab.losses) else None
        if known is None or any(known is part for part in parts):
            named = known or loss_subject(heard, None, None)
            found.append(
                replace(
                    named,
                    y_true=heard.y_true,
                    y_pred=heard.y_pred,
                    sample_weight=heard.sample_weight,
                    x=batch.x,
                )
            )
    if lab.objective is not None and evaluation.forward is not None:
        found.append(
            lab.objective.changed(
                x=batch.x, y_true=batch.y, y_pred=evaluation.forward.y_pred, sample_weight=batch.sample_weight
            )
        )
    return found


def in_loss(lab: Lab, subject: Subject, reach: Reach, found: Found | None) -> Iterator[Trouble]:
    """The trouble of a subject on what it holds; nothing where it is finite, or where nothing was found to cure it."""
    point = lab.attempt(lambda: look_here(lab, subject)) or lab.attempt(lambda: Point(lab.value(subject), ()))
    kind = kind_of(point) if point is not None else None
    if point is None or kind is None:
        return

    def at(rows: np.ndarray) -> Point:
        return look_here(lab, subject.rows(rows))

    size = subject.batch_size
    rows = culprits(lab, at, kind, size, bad_rows(lab, subject, point, kind))
    cure = _filled(lab, point, kind, found) or without(lab, at, point, kind, rows, size)
    cure = cure or _nudged(lab, subject, point, kind) or by_differences(lab, subject, point, kind)
    if cure is None:
        return
    first = int(rows[0]) if len(rows) else 0
    yield Trouble(
        kind=kind,
        reach=reach,
        severity=Severity.ERROR,
        subject=subject,
        cure=cure,
        batch=size,
        arrived=_arrived(lab, subject) if kind == "value" else None,
        partial=found is not None and found.filled is not None,
        event=birth_of_value(lab, subject) if kind == "value" else birth_of_gradient(lab, subject),
        examples=example(numbers_at(lab, subject), worst(point, kind, first)),
        **counts(lab, rows, size, found),
    )


def in_model(lab: Lab, batch: Batch, base: Point, kind: Kind, reach: Reach, found: Found | None) -> Trouble | None:
    """What is born in the model's own layers or penalties: the losses are finite on what they receive."""
    leaves = [leaf for leaf in keras.tree.flatten(batch.x) if leaf is not None]
    size = int(leaves[0].shape[0])

    def at(rows: np.ndarray) -> Point:
        part = Batch(take(batch.x, rows), take(batch.y, rows), take(batch.sample_weight, rows))
        return whole(lab, part)

    rows = culprits(lab, at, kind, size, np.array([], dtype=int))
    cure = without(lab, at, base, kind, rows, size) or _weights_nudged(lab, batch, base, kind)
    if cure is None:
        return None
    return Trouble(
        kind,
        reach,
        Severity.ERROR,
        None,
        cure,
        batch=size,
        event=birth_in_model(lab, batch, kind),
        **counts(lab, rows, size, found),
    )


def _weights_nudged(lab: Lab, batch: Batch, base: Point, kind: Kind) -> Cure | None:
    """The weights moved off a point on which they lie, such as zeros."""
    random = np.random.default_rng(0)

    def nudged(start: np.ndarray) -> np.ndarray:
        return start + 1e-3 * (np.abs(start).max(initial=0.0) or 1.0) * random.uniform(0.5, 1.0, start.shape)

    moved = [nudged(lab.number(tensor)) for tensor in lab.model.start]
    after = lab.attempt(partial(look_at_weights, lab, moved, batch))
    if after is None or not finite(after, kind):
        return None
    return Cure("each of the weights moved up by 0.1 %", measure(base, kind), measure(after, kind))


def counts(lab: Lab, rows: np.ndarray, size: int, found: Found | None) -> dict[str, Any]:
    """The rows to blame, as fields of a `Trouble`: of the user's arrays where they are known."""
    captured = captured_rows(lab) if found is None else None
    if found is None:
        named = captured[rows] if captured is not None and len(captured) == size else rows
        taken = lab.once(census) if captured is not None and len(rows) < size else None
        if taken is not None and len(taken.bad) and np.isin(named, taken.bad).all():  # the batch is a sample of them
            return {"rows": tuple(taken.bad.tolist()), "searched": taken.searched, "affected": len(taken.bad)}
        return {"rows": tuple(int(r) for r in named), "searched": size, "affected": len(rows)}
    affected = found.affected
    if not len(affected) and len(found.rows) == size:
        affected = found.rows[rows]
    if not len(affected):
        return {"rows": tuple(int(r) for r in found.rows), "searched": found.searched, "affected": len(rows)}
    return {"rows": tuple(int(r) for r in affected), "searched": found.searched, "affected": len(affected)}


def _arrived(lab: Lab, subject: Subject) -> str | None:
    """Which of the data came in like that."""

    def cleaned(leaf: Any) -> Any:
        if not (lab.backend.is_tensor(leaf) and "float" in keras.backend.standardize_dtype(leaf.dtype)):
            return leaf
        return tensor_like(lab, np.nan_to_num(lab.number(leaf), posinf=0.0, neginf=0.0), leaf)

    def sound(data: Any) -> bool:
        leaves = [leaf for leaf in keras.tree.flatten(data) if lab.backend.is_tensor(leaf)]
        return all(bool(np.isfinite(lab.number(leaf)).all()) for leaf in leaves)

    if not sound(subject.y_true):
        clean = subject.changed(y_true=keras.tree.map_structure(cleaned, subject.y_true))
        after = lab.attempt(partial(lab.value, clean))
        if after is not None and np.isfinite(after):
            return "targets"
    return "inputs" if subject.x is not None and not sound(subject.x) and not sound(subject.y_pred) else None


def bad_rows(lab: Lab, subject: Subject, point: Point, kind: Kind) -> np.ndarray:
    """The rows of the batch that have a non-finite loss or gradient of their own."""
    size = subject.batch_size
    if kind == "value":
        found = lab.attempt(lambda: lab.unreduced(subject))
        arrays = [found] if found is not None else []
    else:
        arrays = [gradient for gradient in point.gradients if gradient is not None]
    bad = np.zeros(size, dtype=bool)
    for array in arrays:
        if array.ndim and array.shape[0] == size:
            bad |= ~np.isfinite(array.reshape(size, -1)).all(axis=1)
    return np.flatnonzero(bad)


def culprits(lab: Lab, at: Callable[[np.ndarray], Point], kind: Kind, size: int, bad: np.ndarray) -> np.ndarray:
    """The rows without which the rest is finite; all of them where that cannot be told."""
    every = np.arange(size)

    def clean(rows: np.ndarray) -> bool:
        # Always as many rows as the batch has, some of them twice: JAX compiles each operation for each new size.
        point = lab.attempt(lambda: at(np.resize(rows, size))) if len(rows) else None
        return point is not None and finite(point, kind)

    if 0 < len(bad) < size and clean(np.setdiff1d(every, bad)):
        return bad
    # A NaN in a mean over the batch reaches every row: then each is asked alone, in halves.
    asked = 0

    def narrow(rows: np.ndarray) -> list[int]:
        nonlocal asked
        asked += 1
        if asked > ALONE or clean(rows):
            return []
        if len(rows) == 1:
            return [int(rows[0])]
        middle = len(rows) // 2
        return narrow(rows[:middle]) + narrow(rows[middle:])

    found = np.array(narrow(every), dtype=int)
    return found if 0 < len(found) < size and clean(np.setdiff1d(every, found)) else every


def without(
    lab: Lab, at: Callable[[np.ndarray], Point], point: Point, kind: Kind, rows: np.ndarray, size: int
) -> Cure | None:
    """The same batch with its other rows in the place of some; None where that is not finite either."""
    if not 0 < len(rows) < size:
        return None
    index = np.arange(size)
    index[rows] = np.resize(np.setdiff1d(index, rows), len(rows))
    rest = lab.attempt(lambda: at(index))
    if rest is None or not finite(rest, kind):
        return None
    which = "another row in the place of this one" if len(rows) == 1 else f"others in the place of {len(rows)} rows"
    return Cure(f"the same batch with {which}", measure(point, kind), measure(rest, kind))


def _filled(lab: Lab, point: Point, kind: Kind, found: Found | None) -> Cure | None:
    """The rows of a small batch among others, in a batch of the usual size."""
    if found is None or found.filled is None:
        return None
    after = lab.attempt(partial(whole, lab, found.filled))
    if after is None or not finite(after, kind):
        return None
    size = count_rows(found.filled.x)
    return Cure(f"the same {_rows(len(found.rows))} in a batch of {size}", measure(point, kind), measure(after, kind))


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _nudged(lab: Lab, subject: Subject, point: Point, kind: Kind) -> Cure | None:
    """The predictions, or else the targets, moved by a thousandth: off a single point on which they lie."""
    random = np.random.default_rng(0)

    def moved(leaf: Any) -> Any:
        if not (lab.backend.is_tensor(leaf) and "float" in keras.backend.standardize_dtype(leaf.dtype)):
            return leaf
        array = lab.number(leaf)
        step = 1e-3 * (np.abs(array).max(initial=0.0) or 1.0) * random.uniform(0.5, 1.0, size=array.shape)
        return tensor_like(lab, array + step, leaf)

    for name, words in (("y_pred", "predictions"), ("y_true", "targets")):
        other = subject.changed(**{name: keras.tree.map_structure(moved, getattr(subject, name))})
        after = lab.attempt(partial(look_here, lab, other))
        if after is not None and finite(after, kind):
            return Cure(f"each of the {words} moved up by 0.1 %", measure(point, kind), measure(after, kind))
    right = confident(lab, subject, share=1.0)
    after = lab.attempt(lambda: look(lab, subject, right.nearly)) if right is not None else None
    if after is None or not finite(after, kind):
        return None
    return Cure("predictions that are nearly right", measure(point, kind), measure(after, kind))


def by_differences(lab: Lab, subject: Subject, point: Point, kind: Kind) -> Cure | None:
    """The first entry of the gradient that is not finite, by differences of the value: it has a slope there."""
    entries = ((leaf, gradient) for leaf, gradient in enumerate(point.gradients) if gradient is not None)
    leaf, gradient = next((one for one in entries if not np.isfinite(one[1]).all()), (0, None))
    if kind != "gradient" or gradient is None:
        return None
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(gradient))[0])
    found = lab.attempt(partial(slope_of_entry, lab, subject, leaf, index))
    if found is None or not np.isfinite(found.error):
        return None
    return Cure("an entry of it by finite differences of the value", measure(point, kind), float(found.value))


def worst(point: Point, kind: Kind, row: int) -> tuple[int, ...]:
    """An index: of the first non-finite entry of the gradient in a row, else of the row."""
    for gradient in point.gradients:
        if kind == "gradient" and gradient is not None and gradient.ndim > 1 and row < len(gradient):
            bad = np.argwhere(~np.isfinite(gradient[row]))
            if len(bad):
                return (row, *(int(i) for i in bad[0]))
    return (row,)
