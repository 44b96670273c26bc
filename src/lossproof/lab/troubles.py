"""What of an objective, in value or gradient, is NaN or infinite on inputs that the script reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from lossproof.findings.finding import Severity
from lossproof.lab.births import birth_of_gradient, birth_of_value, numbers_at
from lossproof.lab.blind import Point, quiet
from lossproof.lab.bounds import bounds_of, confident
from lossproof.lab.evaluation import evaluate
from lossproof.lab.lab import Lab, loss_subject
from lossproof.lab.predictions import float_leaves, look, look_here, tensor_like, with_float_leaves
from lossproof.lab.reach import Found, batch_of_unusual, search, whole
from lossproof.lab.received import Batch
from lossproof.lab.subject import LossSubject, Subject, take
from lossproof.lab.trouble import Cure, Kind, Reach, Trouble, example, finite, kind_of, measure
from lossproof.lab.weight_connection import captured_point

ALONE = 64
"""Rows that are tried one by one where a batch does not say which of its rows is to blame."""


def troubles(lab: Lab) -> tuple[Trouble, ...]:
    """What was found; at most one for each loss, the value before the gradient, what is met before what will be."""
    found: tuple[Trouble, ...] = lab.once("troubles", experiment=lambda: tuple(_troubles(lab)))
    return found


def _troubles(lab: Lab) -> Iterator[Trouble]:
    losses = [one for one in lab.minimised() if one is not lab.step]
    if lab.capture.model is None:
        for subject in losses:
            yield from _in_loss(lab, subject, "captured", None)
        return
    base = captured_point(lab)
    met: list[Trouble] = []
    if base is not None and not finite(base):
        met = list(_met(lab, lab.batch, base, "captured", None))
    elif base is not None:
        found = lab.attempt(lambda: search(lab))
        if found is not None:
            met = list(_met(lab, found.batch, whole(lab, found.batch), "data", found))
    yield from met
    for position, subject in enumerate(losses):
        if any(one.subject is None or one.subject.name == subject.name for one in met):
            continue
        if lab.capture.training:
            trouble = lab.attempt(lambda: _under_xla(lab, position)) or lab.attempt(lambda: _confident(lab, subject))
            if trouble is not None:
                yield trouble


def _met(lab: Lab, batch: Batch, base: Point, reach: Reach, found: Found | None) -> Iterator[Trouble]:
    """The troubles of a batch on which the objective as a whole is not finite."""
    kind = kind_of(base)
    seen = False
    for subject in _subjects(lab, batch):
        for trouble in _in_loss(lab, subject, reach, found):
            if trouble.kind == kind:
                seen = True
                yield _where_it_shows(lab, batch, trouble)
    if not seen and kind is not None:
        trouble = _in_model(lab, batch, base, kind, reach, found)
        if trouble is not None:
            yield _where_it_shows(lab, batch, trouble)


def _subjects(lab: Lab, batch: Batch) -> list[Subject]:
    """The subjects of the total, on another batch."""
    if batch is lab.batch:
        return [one for one in lab.minimised() if one is not lab.step]
    evaluation = evaluate(lab.model, batch, lab.overrides_train_step)
    parts = lab.minimised()
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
    if lab.objective is not None:
        found.append(
            lab.objective.changed(
                x=batch.x, y_true=batch.y, y_pred=evaluation.forward.y_pred, sample_weight=batch.sample_weight
            )
        )
    return found


def _in_loss(lab: Lab, subject: Subject, reach: Reach, found: Found | None) -> Iterator[Trouble]:
    point = lab.attempt(lambda: look_here(lab, subject)) or lab.attempt(lambda: Point(lab.value(subject), ()))
    kind = kind_of(point) if point is not None else None
    if point is None or kind is None:
        return

    def at(rows: np.ndarray) -> Point:
        return look_here(lab, subject.rows(rows))

    size = subject.batch_size
    rows = _culprits(lab, at, kind, size, _bad_rows(lab, subject, point, kind))
    cure = _without(lab, at, point, kind, rows, size) or _nudged(lab, subject, point, kind)
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
        event=birth_of_value(lab, subject) if kind == "value" else birth_of_gradient(lab, subject),
        examples=example(numbers_at(lab, subject), (*_worst(point, kind, first),)),
        **_counts(rows, size, found),
    )


def _counts(rows: np.ndarray, size: int, found: Found | None) -> dict[str, Any]:
    if found is None:
        return {"rows": tuple(int(r) for r in rows), "searched": size, "affected": len(rows)}
    affected = found.affected
    if not len(affected) and len(found.rows) == size:
        affected = found.rows[rows]
    if not len(affected):
        return {"rows": tuple(int(r) for r in found.rows), "searched": found.searched, "affected": len(rows)}
    return {"rows": tuple(int(r) for r in affected), "searched": found.searched, "affected": len(affected)}


def _bad_rows(lab: Lab, subject: Subject, point: Point, kind: Kind) -> np.ndarray:
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


def _culprits(lab: Lab, at: Callable[[np.ndarray], Point], kind: Kind, size: int, bad: np.ndarray) -> np.ndarray:
    """The rows without which the rest is finite; all of them where that cannot be told."""
    every = np.arange(size)

    def clean(rows: np.ndarray) -> bool:
        point = lab.attempt(lambda: at(rows)) if len(rows) else None
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


def _without(
    lab: Lab, at: Callable[[np.ndarray], Point], point: Point, kind: Kind, rows: np.ndarray, size: int
) -> Cure | None:
    if not 0 < len(rows) < size:
        return None
    rest = lab.attempt(lambda: at(np.setdiff1d(np.arange(size), rows)))
    if rest is None or not finite(rest, kind):
        return None
    which = "this row" if len(rows) == 1 else f"these {len(rows)} rows"
    return Cure(f"the same batch without {which}", measure(point, kind), measure(rest, kind))


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
        after = lab.attempt(lambda other=other: look_here(lab, other))
        if after is not None and finite(after, kind):
            return Cure(f"each of the {words} moved up by 0.1 %", measure(point, kind), measure(after, kind))
    right = confident(lab, subject, share=1.0)
    after = lab.attempt(lambda: look(lab, subject, right.nearly)) if right is not None else None
    if after is None or not finite(after, kind):
        return None
    return Cure("predictions that are nearly right", measure(point, kind), measure(after, kind))


def _in_model(
    lab: Lab, batch: Batch, base: Point, kind: Kind, reach: Reach, found: Found | None
) -> Trouble | None:
    """What is born in the model's own layers or penalties: the losses are finite on what they receive."""
    leaves = [leaf for leaf in keras.tree.flatten(batch.x) if leaf is not None]
    size = int(leaves[0].shape[0])

    def at(rows: np.ndarray) -> Point:
        part = Batch(take(batch.x, rows), take(batch.y, rows), take(batch.sample_weight, rows))
        return whole(lab, part)

    rows = _culprits(lab, at, kind, size, np.array([], dtype=int))
    cure = _without(lab, at, base, kind, rows, size)
    if cure is None:
        return None
    return Trouble(kind, reach, Severity.ERROR, None, cure, batch=size, **_counts(rows, size, found))


def _where_it_shows(lab: Lab, batch: Batch, trouble: Trouble) -> Trouble:
    """JAX compiles the step, and XLA may turn 0 * NaN into a select: then only eager execution shows it."""
    eager = getattr(lab.capture.model, "run_eagerly", False)
    if trouble.kind != "gradient" or lab.backend.name != "jax" or eager or lab.overrides_train_step:
        return trouble
    point = lab.attempt(lambda: _compiled_whole(lab, batch))
    if point is None or not finite(point, "gradient"):
        return trouble
    return replace(trouble, severity=Severity.WARNING, modes="eager execution; the compiled step happens to hide it")


def _compiled_whole(lab: Lab, batch: Batch) -> Point:
    def gradient(*weights: Any) -> Any:
        return lab.backend.gradient(lambda *moved: lab.model.objective(batch, list(moved)), list(weights))

    with quiet(lab):
        value, gradients = lab.backend.stages(gradient, "jit")(*lab.model.start)
    return Point(float(np.sum(lab.number(value))), tuple(lab.number(g) for g in gradients if g is not None))


def _under_xla(lab: Lab, position: int) -> Trouble | None:
    """TensorFlow's eager kernels give 0 for 0 * sqrt'(0); compiled by XLA, as on an accelerator, it is NaN."""
    if lab.backend.name != "tensorflow":
        return None
    seen = False
    for found in (None, lab.attempt(lambda: batch_of_unusual(lab))):
        if found is None and seen:
            break
        seen = True
        subject = _subjects(lab, lab.batch if found is None else found.batch)[position]
        if not isinstance(subject, LossSubject):
            return None
        point = _compiled(lab, subject)
        if not finite(point, "value"):
            return None  # a value that depends on the mode is another rule's
        if not finite(point, "gradient"):
            return _compiled_trouble(lab, subject, point, found)
    return None


def _compiled_trouble(lab: Lab, subject: Subject, point: Point, found: Found | None) -> Trouble | None:
    def at(rows: np.ndarray) -> Point:
        return _compiled(lab, subject.rows(rows))

    size = subject.batch_size
    rows = _bad_rows(lab, subject, point, "gradient")
    cure = _without(lab, at, point, "gradient", rows, size)
    if cure is None:
        return None
    return Trouble(
        kind="gradient",
        reach="captured" if found is None else "data",
        severity=Severity.ERROR if getattr(lab.capture.model, "jit_compile", None) is True else Severity.WARNING,
        subject=subject,
        cure=cure,
        batch=size,
        event=birth_of_gradient(lab, subject),
        examples=example(numbers_at(lab, subject), (*_worst(point, "gradient", int(rows[0])),)),
        modes="XLA (`jit_compile=True`, and by default on an accelerator)",
        **_counts(rows, size, found),
    )


def _compiled(lab: Lab, subject: Subject) -> Point:
    leaves = float_leaves(lab, subject)

    def gradient(*tensors: Any) -> Any:
        value, found = lab.backend.gradient(lambda *moved: with_float_leaves(lab, subject, moved).total(), tensors)
        return value, [g for g in found if g is not None]

    with quiet(lab):
        value, gradients = lab.backend.stages(gradient, "jit")(*leaves)
    return Point(float(np.sum(lab.number(value))), tuple(lab.number(g) for g in gradients))


def _confident(lab: Lab, subject: Subject) -> Trouble | None:
    guess = confident(lab, subject)
    point = look(lab, subject, guess.leaves) if guess is not None else None
    if point is None or finite(point):
        return None  # wherever the bounds may be
    sure = confident(lab, subject, bounds_of(lab, subject))
    if sure is None:
        return None
    point, nearly = look(lab, subject, sure.leaves), look(lab, subject, sure.nearly)
    kind = kind_of(point)
    if kind is None or not finite(nearly):
        return None
    tensors = [
        tensor_like(lab, array, leaf) for array, leaf in zip(sure.leaves, float_leaves(lab, subject), strict=True)
    ]
    there = with_float_leaves(lab, subject, tensors)
    bad = _bad_rows(lab, there, point, kind)
    return Trouble(
        kind=kind,
        reach="confident",
        severity=Severity.WARNING,
        subject=there,
        cure=Cure("the same predictions 0.1 % less sure", measure(point, kind), measure(nearly, kind)),
        rows=tuple(int(r) for r in bad),
        batch=subject.batch_size,
        searched=subject.batch_size,
        affected=sum(int(moved.sum()) for moved in sure.moved),
        event=birth_of_value(lab, there) if kind == "value" else birth_of_gradient(lab, there),
        examples=example(numbers_at(lab, there), _sure_and_bad(sure.moved, sure.leaves, point, kind, bad)),
    )


def _worst(point: Point, kind: Kind, row: int) -> Iterator[int]:
    """An index: the first non-finite entry of the gradient in a row, else just the row."""
    for gradient in point.gradients:
        if kind == "gradient" and gradient is not None and gradient.ndim > 1 and row < len(gradient):
            bad = np.argwhere(~np.isfinite(gradient[row]))
            if len(bad):
                yield row
                yield from (int(i) for i in bad[0])
                return
    yield row


def _sure_and_bad(
    moved: list[np.ndarray], sure: list[np.ndarray], point: Point, kind: Kind, bad: np.ndarray
) -> tuple[int, ...]:
    """The index of a moved prediction that does the harm, as far as can be told; the largest one of several."""
    for where, leaf, gradient in zip(moved, sure, point.gradients, strict=False):
        if gradient is not None and gradient.shape == where.shape and (where & ~np.isfinite(gradient)).any():
            harmful = np.where(where & ~np.isfinite(gradient), np.abs(leaf), -1.0)
            return tuple(int(i) for i in np.unravel_index(int(np.argmax(harmful)), leaf.shape))
    at = np.argwhere(moved[0])
    at = at[np.isin(at[:, 0], bad)] if len(bad) and kind == "value" else at
    return tuple(int(i) for i in at[0]) if len(at) else (0,)
