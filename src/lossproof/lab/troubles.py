"""What of an objective, in value or gradient, is NaN or infinite on inputs that the script reaches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lossproof.findings.finding import Severity
from lossproof.lab.births import birth_of_gradient, birth_of_value, numbers_at
from lossproof.lab.blame import bad_rows, counts, in_loss, in_model, subjects_on, without, worst
from lossproof.lab.blind import Point, quiet
from lossproof.lab.bounds import bounds_of, confident
from lossproof.lab.lab import Lab
from lossproof.lab.predictions import float_leaves, look, tensor_like, with_float_leaves
from lossproof.lab.reach import Found, batch_of_unusual, search, whole
from lossproof.lab.received import Batch
from lossproof.lab.subject import LossSubject, Subject
from lossproof.lab.trouble import Cure, Kind, Reach, Trouble, example, finite, kind_of, measure
from lossproof.lab.weight_connection import captured_point


def troubles(lab: Lab) -> tuple[Trouble, ...]:
    """What was found; at most one for each loss, the value before the gradient, what is met before what will be."""
    found: tuple[Trouble, ...] = lab.once("troubles", experiment=lambda: tuple(_troubles(lab)))
    return found


def _troubles(lab: Lab) -> Iterator[Trouble]:
    losses = [one for one in lab.minimised() if one is not lab.step]
    if lab.capture.model is None:
        for subject in losses:
            yield from in_loss(lab, subject, "captured", None)
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
    for subject in subjects_on(lab, batch):
        for trouble in in_loss(lab, subject, reach, found):
            if trouble.kind == kind:
                seen = True
                yield _where_it_shows(lab, batch, trouble)
    if not seen and kind is not None:
        trouble = in_model(lab, batch, base, kind, reach, found)
        if trouble is not None:
            yield _where_it_shows(lab, batch, trouble)


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
        subject = subjects_on(lab, lab.batch if found is None else found.batch)[position]
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
    rows = bad_rows(lab, subject, point, "gradient")
    cure = without(lab, at, point, "gradient", rows, size)
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
        examples=example(numbers_at(lab, subject), (*worst(point, "gradient", int(rows[0])),)),
        modes="XLA (`jit_compile=True`, and by default on an accelerator)",
        **counts(lab, rows, size, found),
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
    bad = bad_rows(lab, there, point, kind)
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
