"""Whether rows of a batch change each other's loss, how, and whether a loss of single rows was meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras
import numpy as np

from lossproof.capture.place import place_of_function
from lossproof.capture.userfiles import is_user_file
from lossproof.lab.lab import Lab
from lossproof.lab.localize.shapes import shape_of
from lossproof.lab.noise import HALF_OF_THE_DIGITS, differs
from lossproof.lab.predictions import float_leaves, look_here, tensor_like
from lossproof.lab.restated import bare
from lossproof.lab.shape.over_batch import over_batch
from lossproof.lab.subject import Subject

Kind = Literal["batching", "wanted", "function of a mean", "wrong axis"]
"""
`batching`: a loss of single rows was meant, and changes with how they are batched. `wanted`: rows are compared with each
other. `function of a mean`: the root of a mean, say; within a batch it has the same minimum as the mean. `wrong axis`: each
feature is normalised over the rows, where one value per row is returned.
"""


@dataclass(frozen=True)
class Coupling:
    """The same rows, dealt to batches of the same size in two ways."""

    subject: Subject
    kind: Kind
    one_way: float
    """The mean over the batches of one way."""
    other_way: float
    size: int
    """Rows of each of the two batches."""
    whole: float
    """All rows in one batch."""
    alone: float | None
    """The mean over batches of one row; None where that is not finite."""
    alone_of: int
    perfect: float | None
    """The value of perfect predictions, in either way, where they are known to be best in every batch."""
    targets_only: bool
    """Whether the others act by their targets, not by their predictions."""
    own: bool
    """Whether the function is the user's."""
    exchanged: float | None
    """Of a wrong axis: the loss with rows and features exchanged."""


def coupling(lab: Lab, subject: Subject) -> Coupling | None:
    """What couples the rows of a subject's batch, through its predictions; None if nothing does.

    Of four groups of rows A, B, C, D, the gradient for the predictions of A is compared in the batches AB and AD. The
    size and the place of A in it are the same, so that of a sum or a mean over rows it is the same as well, whatever it
    adds up and however it scales with the size of the batch.
    """
    rows = subject.batch_size // 4
    if rows < 1 or subject.y_pred is None or not keras.tree.flatten(subject.y_pred):
        return None
    alone = bare(lab, subject)
    for groups in _groupings(lab, alone, rows):
        deal = Deal(alone, groups)
        slopes = [lab.attempt(partial(_slope, lab, deal.batch(0, other))) for other in (1, 3)]
        if any(slope is None for slope in slopes):
            return None
        if all(slope.any() for slope in slopes) and not _close(*slopes):
            found: Coupling | None = lab.attempt(partial(_classified, lab, subject, deal, *slopes))
            if found is not None:
                return found
    return None


def _groupings(lab: Lab, subject: Subject, rows: int) -> Iterator[list[np.ndarray]]:
    """Rows from all over the batch; then the smallest targets in A and the largest in D, and the reverse.

    A maximum over the batch, which a row of A may hold, says nothing of the others.
    """
    yield [np.arange(i, 4 * rows, 4) for i in range(4)]
    leaves = [lab.number(leaf) for leaf in keras.tree.flatten(subject.y_true) if shape_of(leaf)]
    leaves = [leaf for leaf in leaves if leaf.dtype.kind in "fiub" and len(leaf) == subject.batch_size]
    if leaves:
        size = sum(np.abs(leaf.astype("float64")).reshape(len(leaf), -1).sum(axis=1) for leaf in leaves)
        order = np.argsort(size, kind="stable")
        yield np.array_split(order[-4 * rows :], 4)
        yield np.array_split(order[::-1][-4 * rows :], 4)


@dataclass(frozen=True)
class Deal:
    """A subject and four groups of its rows."""

    subject: Subject
    groups: list[np.ndarray]

    def batch(self, *which: int) -> Subject:
        """Some of the groups in one batch."""
        return self.subject.rows(np.concatenate([self.groups[i] for i in which]))

    def values(self, lab: Lab) -> np.ndarray:
        """Of AB and CD; of AD and CB."""
        return np.array(
            [[lab.value(self.batch(*pair)) for pair in way] for way in (((0, 1), (2, 3)), ((0, 3), (2, 1)))]
        )

    def dealt_by(self, order: np.ndarray) -> Deal:
        """The same with neighbours in an order in the batches AB and CD, and others in AD and CB."""
        return Deal(self.subject, np.array_split(order[: 4 * len(self.groups[0])], 4))


def _classified(lab: Lab, subject: Subject, deal: Deal, written: np.ndarray, dealt: np.ndarray) -> Coupling | None:
    alone = np.array([_number(lab, deal.subject.rows(np.array([i]))) for i in range(subject.batch_size)])
    shown = _most_different(lab, deal, alone)
    if shown is None:
        return None
    values, size = shown
    others = _with_other_predictions(lab, deal)
    targets_only = bool(others) and all(_close(written, one) for one in others)
    company = [dealt, *others, lab.attempt(partial(_slope, lab, deal.batch(0, 2)))]
    same_direction = all(one is not None and one.any() and _proportional(written, one) for one in company)
    meaningful = any(_responds(lab, deal.subject, row) for row in range(subject.batch_size))
    perfect: float | None = None
    kind: Kind = "wanted"
    if targets_only:
        follows = _follows_targets(lab, deal.batch(0, 1), written) or _follows_targets(lab, deal.batch(0, 3), dealt)
        if not follows or _is_mean(lab, deal):
            return None
        if same_direction or meaningful:
            kind = "batching"
    elif same_direction:
        kind = "function of a mean"
    elif meaningful and not _selects(written, dealt):
        perfect = _perfect_in_every_batch(lab, deal, float(values.min()))
        kind = "batching" if perfect is not None and _pairs_rows(lab, deal) else "wanted"
    exchanged = over_batch(lab, deal.subject) if kind == "wanted" else None
    return Coupling(
        subject=subject,
        kind=kind if exchanged is None else "wrong axis",
        one_way=float(values[0].mean()),
        other_way=float(values[1].mean()),
        size=size,
        whole=lab.value(deal.subject),
        alone=float(alone.mean()) if np.isfinite(alone).all() else None,
        alone_of=len(alone),
        perfect=perfect,
        targets_only=targets_only,
        own=_is_own(subject),
        exchanged=exchanged,
    )


def _most_different(lab: Lab, deal: Deal, alone: np.ndarray) -> tuple[np.ndarray, int] | None:
    """The values of two ways to deal the rows, as different as found, and the size of each batch; None if all agree."""
    random = np.random.default_rng(0)
    orders = [np.argsort(alone, kind="stable"), *(random.permutation(len(alone)) for _ in range(3))]
    found = [lab.attempt(partial(one.values, lab)) for one in (deal, *map(deal.dealt_by, orders))]
    finite = [values for values in found if values is not None and np.isfinite(values).all()]
    best = max(finite, key=lambda values: abs(values[0].sum() - values[1].sum()), default=None)
    if best is None:
        return None
    terms = sum(leaf.size for leaf in map(lab.number, float_leaves(lab, deal.subject)))
    if not differs(float(best[0].sum()), float(best[1].sum()), terms=terms, scale=float(np.abs(best).sum())):
        return None
    return best, 2 * len(deal.groups[0])


def _is_own(subject: Subject) -> bool:
    place = place_of_function(subject.function)
    return place is not None and is_user_file(place.file)


def _number(lab: Lab, subject: Subject) -> float:
    value = lab.attempt(partial(lab.value, subject))
    return float("nan") if value is None else float(value)


# The gradient in the predictions of some rows ---------------------------------------------------------------------


def _slope(lab: Lab, batch: Subject) -> np.ndarray | None:
    """The gradient for the first half of the rows, flat; None where there is none or it is not finite."""
    gradients = look_here(lab, batch).gradients
    if not gradients or any(gradient is None for gradient in gradients):
        return None
    flat = np.concatenate([np.asarray(g)[: batch.batch_size // 2].ravel() for g in gradients if g is not None])
    return flat if np.isfinite(flat).all() else None


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.linalg.norm(a - b) <= HALF_OF_THE_DIGITS * max(np.linalg.norm(a), np.linalg.norm(b)))


def _proportional(a: np.ndarray, b: np.ndarray) -> bool:
    return _close(a, b * (a @ b) / (b @ b))


def _selects(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the others only decide which entries count: hard examples, the largest error."""
    both = (a != 0.0) & (b != 0.0)
    return not both.all() and (not both.any() or _proportional(a[both], b[both])) and bool(((a != 0) != (b != 0)).any())


def _with_other_predictions(lab: Lab, deal: Deal) -> list[np.ndarray]:
    """The gradient of group A, where B gets the predictions of D, and where it gets halves of its own."""
    batch, other, half = deal.batch(0, 1), deal.batch(0, 3), deal.batch(0, 1).batch_size // 2

    def halved(leaf: Any) -> Any:
        array = lab.number(leaf)
        return tensor_like(lab, np.concatenate([array[:half], 0.5 * array[half:]]), leaf)

    changed = [batch.changed(y_pred=other.y_pred)]
    if len(float_leaves(lab, batch)) == len(keras.tree.flatten(batch.y_pred)):
        changed.append(batch.changed(y_pred=keras.tree.map_structure(halved, batch.y_pred)))
    slopes = [lab.attempt(partial(_slope, lab, one)) for one in changed]
    return [slope for slope in slopes if slope is not None]


def _responds(lab: Lab, subject: Subject, row: int) -> bool:
    """Whether the loss of a batch of one row has a finite value and a gradient that is finite and not zero."""
    point = lab.attempt(lambda: look_here(lab, subject.rows(np.array([row]))))
    if point is None or not np.isfinite(point.value):
        return False
    given = [gradient for gradient in point.gradients if gradient is not None]
    return bool(given) and all(np.isfinite(g).all() for g in given) and any(np.abs(g).max() > 0 for g in given)


# What is meant ----------------------------------------------------------------------------------------------------


def _follows_targets(lab: Lab, batch: Subject, written: np.ndarray) -> bool:
    """Whether the gradient of the first half moves when targets of the other are moved by 1 %: those that are measurements.

    A value that occurs twice may be a label, a count or the mark of a gap, and stays.
    """
    target = _comparable(lab, batch)
    if target is None:
        return False
    values, counts = np.unique(target, return_counts=True)
    measured = np.isin(target, values[counts == 1])
    measured[: batch.batch_size // 2] = False
    if not measured.any():
        return False
    moved = np.where(measured, target * 1.01, target)
    changed = _slope(lab, batch.changed(y_true=tensor_like(lab, moved.reshape(batch.y_true.shape), batch.y_true)))
    return changed is not None and not _close(written, changed)


def _is_mean(lab: Lab, deal: Deal) -> bool:
    """Whether equal errors give the same value in every batch: a mean over rows, weighted or of those that are valid."""
    target = _comparable(lab, deal.subject)
    leaf = deal.subject.y_pred
    if target is None:
        return False
    given = lab.number(leaf)
    target = target.reshape(given.shape) if target.size == given.size else np.broadcast_to(target, given.shape)
    spread = float(np.std(given - target)) or 1.0
    shifted = deal.subject.changed(y_pred=tensor_like(lab, target + spread, leaf))
    for groups in _groupings(lab, deal.subject, len(deal.groups[0])):
        values = lab.attempt(partial(Deal(shifted, groups).values, lab))
        if values is None or _apart(sum(values[0]), sum(values[1]), np.abs(values).sum()):
            return False
    return True


def _comparable(lab: Lab, subject: Subject) -> np.ndarray | None:
    """Targets, where each stands for one prediction, or for all in its row."""
    y_true, y_pred = subject.y_true, subject.y_pred
    shapes = shape_of(y_true), shape_of(y_pred)
    if shapes[0] is None or shapes[1] is None:
        return None
    if keras.ops.size(y_true) != keras.ops.size(y_pred) and shapes[0] != (*shapes[1][:-1], 1):
        return None
    if len(float_leaves(lab, subject)) != 1:
        return None
    return lab.number(y_true).astype("float64")


def _perfect_in_every_batch(lab: Lab, deal: Deal, best: float) -> float | None:
    """The value of perfect predictions, if it is lower than `best` and the same in each batch and for single rows.

    That a part of the loss is a distance between distributions, or a property of the batch, shows there.
    """
    for predictions in perfect_predictions(lab, deal.subject):
        perfect = deal.subject.changed(y_pred=tensor_like(lab, predictions, deal.subject.y_pred))
        values = lab.attempt(lambda: Deal(perfect, deal.groups).values(lab))  # noqa: B023 - called here
        if values is None or not np.isfinite(values).all():
            continue
        flat = np.ravel(values)
        gain = best - float(flat.max())
        single = [lab.attempt(partial(lab.value, perfect.rows(np.array([i])))) for i in range(perfect.batch_size)]
        alike = [value is not None and abs(value - flat[0]) <= 0.01 * gain for value in single]
        if gain > 0.0 and np.ptp(flat) <= 0.01 * gain and any(alike):
            return float(flat.mean())
    return None


def perfect_predictions(lab: Lab, subject: Subject) -> Iterator[np.ndarray]:
    """Predictions that could be perfect: the targets, or for labels also probabilities and logits."""
    y_pred = subject.y_pred
    if shape_of(y_pred) is None or shape_of(subject.y_true) is None:
        return
    shape = lab.number(y_pred).shape
    target = _comparable(lab, subject)
    if target is None or target.size != np.prod(shape):
        ids = lab.number(subject.y_true).ravel().astype("float64")
        classes = shape[-1] if shape else 1
        if ids.size * classes != np.prod(shape) or not np.isin(ids, np.arange(classes)).all():
            return
        target = np.eye(classes)[ids.astype(int)]
    target = target.reshape(shape)
    yield target
    if np.isin(target, (0.0, 1.0)).all():
        yield np.clip(target, 1e-6, 1.0 - 1e-6)
        yield 30.0 * (2.0 * target - 1.0)


def _pairs_rows(lab: Lab, deal: Deal) -> bool:
    """Whether it matters which target stands beside which prediction."""
    subject, size = deal.subject, deal.subject.batch_size
    terms = sum(leaf.size for leaf in map(lab.number, float_leaves(lab, subject)))
    before = lab.value(subject)
    dealt = (subject.rows(np.roll(np.arange(size), shift)).y_true for shift in (1, size // 3 + 1, size // 2))
    return any(differs(before, lab.value(subject.changed(y_true=y_true)), terms=terms) for y_true in dealt)


def _apart(a: float, b: float, scale: float) -> bool:
    if not (np.isfinite(a) and np.isfinite(b)):
        return False
    return bool(abs(a - b) > HALF_OF_THE_DIGITS * max(abs(a), abs(b), scale))
