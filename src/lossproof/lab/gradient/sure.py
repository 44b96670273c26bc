"""What is not finite where the predictions are right and as sure as they can be."""

from __future__ import annotations

from functools import partial

import numpy as np

from lossproof.findings.finding import Severity
from lossproof.lab.blind import Point
from lossproof.lab.bounds import Confident, bounds_of, confident, passes, reached
from lossproof.lab.gradient.births import birth_of_gradient, birth_of_value, numbers_at
from lossproof.lab.gradient.blame import bad_rows
from lossproof.lab.gradient.trouble import Cure, Kind, Trouble, example, finite, kind_of, measure
from lossproof.lab.lab import Lab
from lossproof.lab.predictions import look, with_predictions
from lossproof.lab.subject import Subject


def when_sure(lab: Lab, subject: Subject) -> Trouble | None:
    """The trouble of a subject at predictions that lie on its targets, where both lie on a bound of the output."""
    guess = confident(lab, subject)
    point = look(lab, subject, guess.leaves) if guess is not None else None
    if point is None or finite(point):
        return None  # wherever the bounds may be
    bounds = reached(lab, subject, bounds_of(lab, subject))
    sure = confident(lab, subject, bounds)
    if sure is None:
        return None
    point, nearly = look(lab, subject, sure.leaves), look(lab, subject, sure.nearly)
    kind = kind_of(point)
    if kind is None or not finite(nearly) or (kind == "gradient" and not _felt(lab, subject, sure, point, bounds)):
        return None
    there = with_predictions(lab, subject, sure.leaves)
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
        examples=example(numbers_at(lab, there), _harmful(sure.moved, sure.leaves, point, kind, bad)),
    )


def _felt(lab: Lab, subject: Subject, sure: Confident, point: Point, bounds: list[np.ndarray]) -> bool:
    """Whether the gradient's bad entries reach the weights, as far as can be told; a relu that is off keeps them."""
    values = [
        np.array([]) if gradient is None else np.unique(leaf[~np.isfinite(gradient)])
        for leaf, gradient in zip(sure.leaves, point.gradients, strict=True)
    ]
    if not all(np.isin(some, ends).all() for some, ends in zip(values, bounds, strict=True)):
        return True  # what is not saturated hands on everything
    return lab.attempt(partial(passes, lab, subject, values)) is not False


def _harmful(
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
