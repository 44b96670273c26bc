"""Margin losses: functions of the product of label and score, for labels of -1 and 1, that are given 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs
from lossproof.lab.predictions import float_leaves, look, tensor_like, with_predictions
from lossproof.lab.subject import LossSubject

SCORES = (-30.0, -10.0, -3.0, -1.0, -0.3, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Where the loss of one label is looked at; beyond the last a margin loss has nothing left to gain."""


@dataclass(frozen=True)
class Unsigned:
    """A margin loss whose labels of 0 say nothing."""

    subject: LossSubject
    silent: int
    """Samples with a label of 0 and no gradient."""
    count: int
    before: float
    after: float
    """The loss with labels of -1 in their place."""


def unsigned_labels(lab: Lab, subject: LossSubject) -> Unsigned | None:
    """The proof that a loss wants labels of -1 and 1 where it is given 0 and 1.

    It is the same for every score where the label is 0; the label -1 mirrors the label 1; and the label 1 draws scores
    up, the less the higher they are. A product with a mask, or with the output of a critic, has no such end.
    """
    like = float_leaves(lab, subject)
    if len(like) != 1 or not lab.backend.is_tensor(subject.y_true):
        return None
    labels, scores = lab.number(subject.y_true), lab.number(like[0])
    if labels.dtype.kind not in "fi" or labels.size != scores.size or not np.array_equal(np.unique(labels), [0, 1]):
        return None

    def alone(label: float, score: float) -> float:
        given = with_predictions(lab, subject, [np.full(scores.shape, score)]).changed(
            y_true=tensor_like(lab, np.full(labels.shape, label), subject.y_true), sample_weight=None
        )
        value = lab.attempt(lambda: lab.value(given))
        return np.nan if value is None else value

    up = np.array([alone(1.0, score) for score in SCORES])
    if not np.isfinite(up).all() or not _a_margin(up):
        return None
    silent = [alone(0.0, score) for score in SCORES]
    mirrored = [alone(-1.0, -score) for score in SCORES]
    if any(_apart(value, silent[0]) for value in silent) or any(map(_apart, mirrored, up)):
        return None
    signed = subject.changed(y_true=tensor_like(lab, 2.0 * labels - 1.0, subject.y_true))
    here, there = (look(lab, one, [scores]) for one in (subject, signed))
    if here.gradients[0] is None or not np.isfinite([here.value, there.value]).all():
        return None
    dead = (here.gradients[0].reshape(len(labels), -1) == 0.0).all(axis=1)
    zero = (labels.reshape(len(labels), -1) == 0).all(axis=1)
    return Unsigned(subject, int((dead & zero).sum()), len(labels), here.value, there.value)


def _a_margin(values: np.ndarray) -> bool:
    """Whether a loss never rises with the score, and falls by less and less, to nothing in the end."""
    steps = -np.diff(values)
    rising = [differs(a, b, terms=1) for a, b, step in zip(values, values[1:], steps, strict=False) if step < 0]
    falls = values[0] - values[-1]
    return not any(rising) and bool(steps[0] > 0.0 and abs(steps[-1]) <= 0.01 * falls)


def _apart(a: float, b: float) -> bool:
    return not (np.isfinite(a) and np.isfinite(b)) or bool(differs(a, b, terms=1))
