"""How a loss reads its predictions: as probabilities, or as logits that it makes probabilities of itself.

It is measured on the loss alone, with predictions put where they tell. `a` stands for predictions that give the right
answer `a` and share the rest among the others: 1 is sure and right, and beyond 1 lies what only a logit can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Literal

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import quiet
from lossproof.lab.bounds import bounds_of, right_predictions
from lossproof.lab.lab import Lab
from lossproof.lab.minimised import minimised
from lossproof.lab.noise import differs
from lossproof.lab.predictions import float_leaves, look
from lossproof.lab.step import rerun_step
from lossproof.lab.subject import StepSubject, Subject

STEADY = 0.1
"""A tail counts as exponential, and a divergence as logarithmic, if its rate is the same within a tenth over the whole
stretch. Those of other functions are not: the rate of a power changes by 30 % there, that of a Gaussian by 36 %."""
BEYOND = (4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
STRETCH = 4
"""So many of these in a row show the rate, the nearest or the farthest: an overlap is none of itself near by."""
FAR = (40.0, 60.0, 80.0)
LEAST_RATE = 0.5
"""Of an exponential tail: from 7 to 40 it then falls by e to the 16, below what float32 tells from nothing."""
SMALL = (0.03, 0.01, 0.003)
LEFT = 0.2
"""The share of an undecided prediction's loss that sure and right ones must keep: less is a matter of taste (a sharp
soft threshold), a softmax or sigmoid over probabilities leaves a third and more."""
OUTSIDE = 1e-3
"""How far outside of [0, 1] a prediction is no rounding error of a probability."""
SURE = 1e-7
"""Keras's own epsilon: the probability at which logits are taken for sure."""


@dataclass(frozen=True)
class Misread:
    """A loss that takes predictions for what they are not."""

    subject: Subject
    taken_for: Literal["logits", "probabilities"]
    kind: Literal["sigmoid", "softmax"]
    """What lies between logits and probabilities here."""
    before: float
    after: float
    """The captured loss as written, and with the predictions made what the loss takes them for."""
    sure: float
    sure_after: float
    """The loss of sure and right predictions, as written and so converted."""
    undecided: float
    """The loss, as written, of predictions that leave all answers equally probable."""
    least: float
    """What the loss tends to where the predictions may be anything."""
    dark: int
    """Predictions outside of [0, 1] that get no gradient, or their samples."""
    count: int
    of: Literal["predictions", "samples"]
    """What is counted."""


def misread(lab: Lab) -> Iterator[Misread]:
    """The losses of the capture that take probabilities for logits, or logits for probabilities."""
    found = False
    for subject in (*lab.losses, *((lab.objective,) if lab.objective is not None else ())):
        if found and subject is lab.objective:  # it has called the losses
            return
        probe = lab.attempt(partial(_probe, lab, subject))
        if probe is None:
            continue
        outside = (probe.given < -OUTSIDE) | (probe.given > 1.0 + OUTSIDE)
        # A loss may refuse predictions that are neither, as torch's does where the arguments are exchanged.
        one = lab.attempt(partial(probe.for_probabilities, outside) if outside.any() else probe.for_logits)
        if one is not None and any(part is subject for part in lab.once(minimised)):
            found = True
            yield one


def _probe(lab: Lab, subject: Subject) -> _Probe | None:
    """The subject with its predictions at hand; None where the targets do not say what a right prediction is."""
    if isinstance(subject, StepSubject):
        return None
    leaves = float_leaves(lab, subject)
    if len(leaves) != 1 or len(keras.tree.flatten(subject.y_pred)) != 1 or len(leaves[0].shape) == 0:
        return None
    given = lab.number(leaves[0])
    right = right_predictions(lab, subject, [given])
    if right is None or not np.isfinite(right[0]).all() or not np.isfinite(given).all():
        return None
    several = given.ndim > 1 and given.shape[-1] > 1
    recoded = subject
    if ((right[0] < -OUTSIDE) | (right[0] > 1.0 + OUTSIDE)).any() and several and given.size:
        right = [_softmax(right[0])]  # those of another model, such as a teacher: logits as well
        recoded = _with_targets(lab, subject, right[0])
    if ((right[0] < 0.0) | (right[0] > 1.0)).any() or given.size == 0:
        return None
    one_right = several and np.allclose(right[0].sum(axis=-1), 1.0, atol=1e-3)
    sums_to_one = np.allclose(given.sum(axis=-1), 1.0, atol=1e-3)
    linear = bool(((given < -OUTSIDE) | (given > 1.0 + OUTSIDE)).any())
    softmax = bool(one_right and (sums_to_one or linear))
    if softmax:
        hard = (np.arange(given.shape[-1]) == right[0].argmax(axis=-1)[..., None]).astype("float64")
    else:
        hard = (right[0] >= 0.5).astype("float64")
    if not np.array_equal(hard, right[0]):  # soft labels say less clearly what is right
        if tuple(keras.tree.flatten(subject.y_true)[0].shape) != right[0].shape:
            return None
        answered = _with_targets(lab, subject, hard)
    else:
        answered = subject
    return _Probe(lab, subject, answered, recoded, given, hard, softmax)


def _with_targets(lab: Lab, subject: Subject, targets: np.ndarray) -> Subject:
    dtype = keras.backend.standardize_dtype(keras.tree.flatten(subject.y_true)[0].dtype)
    return subject.changed(y_true=lab.backend.tensor(targets, dtype=dtype))


@dataclass(frozen=True)
class _Probe:
    """A loss, its predictions and the right ones."""

    lab: Lab
    subject: Subject
    answered: Subject
    """With labels that say clearly what is right."""
    recoded: Subject
    """With targets that are probabilities."""
    given: np.ndarray
    hard: np.ndarray
    softmax: bool

    def value(self, subject: Subject, predictions: np.ndarray) -> float:
        leaf = self.lab.backend.tensor(predictions, dtype="float32")
        packed = keras.tree.pack_sequence_as(subject.y_pred, [leaf])
        return self.lab.value(subject.changed(y_pred=packed))

    def at(self, a: float) -> float:
        return self.value(self.answered, self.answer(a))

    def answer(self, a: float) -> np.ndarray:
        others = self.hard.shape[-1] - 1 if self.softmax else 1
        return np.where(self.hard == 1.0, a, (1.0 - a) / others)

    @property
    def undecided(self) -> float:
        return 1.0 / self.hard.shape[-1] if self.softmax else 0.5

    # Probabilities taken for logits -------------------------------------------------------------------------------

    def for_logits(self) -> Misread | None:
        subject = self.subject
        undecided, sure = self.at(self.undecided), self.at(1.0)
        beyond, far = np.array([self.at(a) for a in BEYOND]), [self.at(a) for a in FAR]
        if not np.isfinite([undecided, sure, *beyond, *far]).all():
            return None
        # Smoothed labels make it rise again, in a straight line; what is above that line is the tail.
        rise = (far[2] - far[0]) / (FAR[2] - FAR[0])
        line = far[0] + rise * (np.array([self.undecided, 1.0, *BEYOND, FAR[1]]) - FAR[0])
        if differs(far[1], line[-1], terms=self.given.size, scale=max(abs(sure), abs(far[2]))):
            return None
        if rise < 0.0 and differs(far[0], far[2], terms=self.given.size, scale=sure):
            return None
        tails = np.array([undecided, sure, *beyond]) - line[:-1]
        least = min(far[0], *beyond)
        # float32 gives the tail as a difference: below this there is nothing left of it.
        nothing = 64.0 * np.finfo("float32").eps * np.maximum(np.abs([undecided, sure, *beyond]), np.abs(line[:-1]))
        if (np.diff([*tails, 0.0]) > nothing).any():
            return None
        kept = LEFT * max(undecided - least, 0.0)
        if sure - least <= kept or not differs(sure, least, terms=self.given.size):
            return None
        stretches = (slice(2, 2 + STRETCH), slice(-STRETCH, None))
        if not any(_exponential(tails[part], nothing[part][-1]) for part in stretches):
            return None
        (bounds,) = bounds_of(self.lab, subject)
        if not {0.0, 1.0} <= set(bounds.tolist()) or bounds.min() < 0.0 or bounds.max() > 1.0:
            return None
        if _looked_through(self.lab):
            return None
        logits = self._logits(self.given)
        return Misread(
            subject=subject,
            taken_for="logits",
            kind="softmax" if self.softmax else "sigmoid",
            before=self.value(subject, self.given),
            after=self.value(subject, logits),
            sure=sure,
            sure_after=min(least, self.value(self.answered, self._logits(self.hard))),
            undecided=undecided,
            least=least,
            dark=0,
            count=self.given.size,
            of="predictions",
        )

    def _logits(self, probabilities: np.ndarray) -> np.ndarray:
        p = np.clip(probabilities, SURE, 1.0 - SURE)
        logits: np.ndarray = np.log(p) if self.softmax else np.log(p) - np.log1p(-p)
        return logits

    # Logits taken for probabilities -------------------------------------------------------------------------------

    def for_probabilities(self, outside: np.ndarray) -> Misread | None:
        lab, subject = self.lab, self.subject
        values = np.array([self.at(a) for a in (self.undecided, *SMALL[1:])])
        small = np.array([self.at(a) for a in SMALL])
        sure = self.at(1.0 - SURE)
        if not np.isfinite([*values, *small, sure]).all() or sure >= values[0]:
            return None
        rates = np.diff(small) / -np.diff(np.log(np.array(SMALL)))
        if not _steady(rates):
            return None
        point = look(lab, subject, [self.given])
        if not np.isfinite(point.value) or point.gradients[0] is None:
            return None
        # A cross-entropy divides by the sum of a row, so that its row is dark as a whole; a divergence does not.
        rows = self.softmax and not (point.gradients[0][outside] == 0.0).all()
        dark = ~np.any(point.gradients[0] != 0.0, axis=-1) if rows else point.gradients[0] == 0.0
        out = outside.any(axis=-1) if rows else outside
        if not (dark & out).any() or (dark & ~out).any():
            return None
        if not rows and not dark[out].all():
            return None
        shares = _softmax if self.softmax else _sigmoid
        far = np.log((1.0 - SURE) / SURE)
        return Misread(
            subject=subject,
            taken_for="probabilities",
            kind="softmax" if self.softmax else "sigmoid",
            before=point.value,
            after=self.value(self.recoded, shares(self.given)),
            sure=self.value(self.answered, far * (2.0 * self.hard - 1.0)),
            sure_after=self.value(self.answered, shares(far * (2.0 * self.hard - 1.0))),
            undecided=values[0],
            least=sure,
            dark=int((dark & out).sum()),
            count=int(dark.size),
            of="samples" if rows else "predictions",
        )


def _exponential(tail: np.ndarray, nothing: float) -> bool:
    if tail[-1] <= max(nothing, 0.0):
        return False
    rates = -np.diff(np.log(tail))
    return _steady(rates) and bool(rates.min() >= LEAST_RATE)


def _steady(rates: np.ndarray) -> bool:
    return bool((rates > 0.0).all() and rates.max() - rates.min() <= STEADY * rates.max())


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.exp(-np.logaddexp(0.0, -logits))
    return shares


def _softmax(logits: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    return shares


def _looked_through(lab: Lab) -> bool:
    """Whether the backend's losses find the logits behind the predictions by themselves, in training."""
    if not lab.backend.looks_through_predictions or lab.capture.model is None:
        return False
    run, hidden = _total_in_graph(lab, hide=False), _total_in_graph(lab, hide=True)
    return differs(run, hidden, terms=64)


def _total_in_graph(lab: Lab, hide: bool) -> float:
    def total(*weights: Tensor) -> Tensor:
        return lab.model.objective(lab.batch, list(weights))

    run: Callable[..., Tensor] = lab.backend.stages(total, "graph")
    with keras_private.logits_hidden() if hide else nullcontext(), quiet(lab):
        if lab.overrides_train_step:
            return sum(rerun_step(lab).losses)
        return float(np.sum(lab.number(run(*lab.model.start))))
