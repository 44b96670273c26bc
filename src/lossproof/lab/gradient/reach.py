"""Searches the user's own data for rows on which the objective, or its gradient, is not finite.

Every row's targets are tried with predictions that are at hand, which costs no forward pass; a row found so is then
confirmed with the model's own predictions for it. Some of the data is tried with those at once. How much of either is
bounded by the work, not by the clock: the same is found on a slow machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import ROWS, count_rows, in_memory, is_array, sample_rows, take_rows
from lossproof.capture.objective import batch_sizes
from lossproof.lab.blind import Point, quiet
from lossproof.lab.evaluation import Seen, at_once
from lossproof.lab.gradient.trouble import finite
from lossproof.lab.gradient.weight_connection import look_at_weights, looking_at
from lossproof.lab.lab import Lab
from lossproof.lab.listen import listening
from lossproof.lab.minimised import minimised
from lossproof.lab.model import Forward
from lossproof.lab.predictions import look_here
from lossproof.lab.received import Batch, as_batch
from lossproof.lab.subject import take
from lossproof.lab.subjects import loss_subject

PASSES = 48
"""Of the model forwards and back, with other rows, at most; of one that is large so many as `WORK` allows."""
WORK = 1e9
"""Multiplications of all these forward passes together: under a second on a core of these days."""
CHUNK = 2048
CHUNKS = 32
"""Of rows whose targets are tried, at most; of large predictions so many as have `ELEMENTS` elements."""
ELEMENTS = 1 << 23
MANY = 8
POOL = 1 << 26
"""How many batches, and bytes, are read at a time."""
BATCHES = 8
LARGEST = 1 << 28
"""Bytes of an array up to which it is looked through for unusual rows."""


@dataclass(frozen=True)
class Found:
    """A batch of the user's rows on which something is not finite."""

    batch: Batch
    rows: np.ndarray
    """Which rows of the user's arrays, or which batch of an iterable."""
    searched: int
    affected: np.ndarray
    """The rows that were found to be like that, in the order of the search; empty where only the batch is known."""
    filled: Batch | None = None
    """The same rows among others, as many as a batch usually has, where this one is smaller."""


def search(lab: Lab) -> Found | None:
    """The first batch found. None where all that was searched is finite, or the data cannot be read again."""
    capture = lab.capture
    data = capture.data
    if capture.model is None:
        return None
    recorded = getattr(data.get("x"), "batches", None)  # those that a generator gave
    if recorded is not None:
        return _in_batches(lab, iter(recorded[1:]))
    if not in_memory(data.get("x"), data.get("y")):
        return _in_batches(lab, islice(iter(keras_private.epoch_data(data)), 1, BATCHES))
    count = _count(lab)
    if count <= _size(lab):
        return None
    return _by_targets(lab) or _in_partial(lab, count) or _by_forward(lab, count)


def whole(lab: Lab, batch: Batch) -> Point:
    """The objective on a batch, with its gradient for the weights where the call trains."""
    if lab.capture.training:
        return look_at_weights(lab, batch=batch)
    with quiet(lab):
        return Point(float(np.sum(lab.number(lab.model.objective(batch)))), ())


def rows_of_data(lab: Lab, rows: np.ndarray) -> Batch:
    """Rows of the user's arrays as a step would receive them.

    Raises:
        Whatever Keras's data adapters raise.
    """
    data = lab.capture.data
    cut = {key: take_rows(data.get(key), rows) for key in ("x", "y", "sample_weight")}
    return _received(lab, cut, len(rows))


def captured_rows(lab: Lab) -> np.ndarray | None:
    """Which rows of the user's arrays the captured batch holds; None where that is not known."""
    data, count = lab.capture.data, _count(lab)
    if lab.capture.batch is None or not count:
        return None
    spread = lab.capture.call == "check" or (lab.capture.call == "fit" and bool(data.get("shuffle", True)))
    return sample_rows(count, data.get("batch_size") or ROWS, spread)[: _size(lab)]


def _received(lab: Lab, cut: dict[str, Any], size: int) -> Batch:
    cut = {**cut, "class_weight": lab.capture.data.get("class_weight"), "batch_size": size}
    return as_batch(next(iter(keras_private.epoch_data(cut))))


def _passes(lab: Lab) -> int:
    """How many more passes a search may take; of a step of the user's own, whose work is not known, a few."""
    work = lab.evaluation.work
    return min(PASSES, int(WORK / work)) if work else BATCHES


def _size(lab: Lab) -> int:
    return int(count_rows(lab.batch.x) or 1)


def _in_batches(lab: Lab, items: Iterator[Any]) -> Found | None:
    for number, item in enumerate(islice(items, _passes(lab)), start=2):
        batch = as_batch(item)
        if not finite(whole(lab, batch)):
            return Found(batch, np.array([number]), number * _size(lab), np.array([], dtype=int))
    return None


@dataclass(frozen=True)
class Census:
    """The rows whose targets give a non-finite loss or gradient with predictions that are fine for others."""

    bad: np.ndarray
    searched: int


def census(lab: Lab) -> Census | None:
    """A count over all rows of the user's arrays, as far as the work allows; None where it cannot be taken."""

    def experiment() -> Census | None:
        count = _count(lab)
        return _census(lab, count) if count and not lab.overrides_train_step and lab.losses else None

    found: Census | None = lab.attempt(experiment)
    return found


def _count(lab: Lab) -> int:
    """Rows that are trained on; 0 where the data are no arrays."""
    data = lab.capture.data
    if not in_memory(data.get("x"), data.get("y")):
        return 0
    return int((count_rows((data.get("x"), data.get("y"))) or 0) * (1.0 - (data.get("validation_split") or 0.0)))


def _census(lab: Lab, count: int) -> Census:
    predictions = [leaf for leaf in keras.tree.flatten(lab.forward.y_pred) if lab.backend.is_tensor(leaf)]
    width = max(1, sum(lab.number(leaf)[:1].size for leaf in predictions))
    affordable = max(_size(lab), ELEMENTS // width)
    step = min(count, CHUNK, affordable)
    bad: list[int] = []
    searched = 0
    for start in range(0, min(count, CHUNKS * step, affordable), step):
        rows = np.arange(start, start + step)
        rows = rows if rows[-1] < count else np.arange(count - step, count)  # one size, compiled once
        bad += [int(row) for row in rows[_suspects(lab, rows)] if row >= start]
        searched = int(rows[-1]) + 1
    return Census(np.array(bad, dtype=int), searched)


def _by_targets(lab: Lab) -> Found | None:
    taken = lab.once(census)
    if taken is None:
        return None
    good = np.setdiff1d(np.arange(taken.searched), taken.bad)
    for row in taken.bad[:3]:
        with_it = np.sort(np.append(good[: _size(lab) - 1], row))
        batch = rows_of_data(lab, with_it)
        if not finite(whole(lab, batch)):
            return Found(batch, with_it, taken.searched, taken.bad)
    return None


def _suspects(lab: Lab, rows: np.ndarray) -> np.ndarray:
    """Which of some rows give a non-finite loss or gradient with the captured predictions, shape (rows,) of bool."""
    data, forward = lab.capture.data, lab.forward
    cut = {key: take_rows(data.get(key), rows) for key in ("y", "sample_weight")}
    # Only a compute_loss of the user's looks at the inputs.
    cut["x"] = take_rows(data["x"], rows) if lab.overrides_compute_loss else np.zeros((len(rows), 1), "float32")
    recycled = take(forward.y_pred, np.arange(len(rows)) % _size(lab))
    batch, given = _received(lab, cut, len(rows)), Forward(recycled, [])

    def run() -> Seen:
        with listening() as hearing:
            total = lab.model.compute_loss(batch, given)
        return Seen(total, given, tuple(hearing.losses))

    with quiet(lab):
        seen = at_once(run)
    suspects = np.zeros(len(rows), dtype=bool)
    parts = lab.once(minimised)
    for position, heard in enumerate(seen.losses):
        if position < len(lab.losses) and all(lab.losses[position] is not part for part in parts):
            continue
        subject = loss_subject(heard, None, None)
        arrays = [lab.unreduced(subject)]
        if lab.capture.training:
            arrays += [g for g in look_here(lab, subject).gradients if g is not None]
        for array in arrays:
            if array.ndim and array.shape[0] == len(rows):
                suspects |= ~np.isfinite(array.reshape(len(rows), -1)).all(axis=1)
    # Where each row is bad it is not the rows: the captured batch would have shown it.
    return suspects if not suspects.all() else np.zeros_like(suspects)


def _in_partial(lab: Lab, count: int) -> Found | None:
    """The smaller batch that an epoch ends with: a variance over the batch, say, is 0 if that is a single row."""
    size = _size(lab)
    for rows in sorted(n for n in batch_sizes(lab.capture.call, lab.capture.data) if n < size):
        few = np.arange(rows)
        subjects = [one for one in lab.once(minimised) if one is not lab.step]
        points = [lab.attempt(partial(look_here, lab, one.rows(few))) for one in subjects]
        if all(point is None or finite(point) for point in points):
            continue
        last = np.arange(count - rows, count)
        batch = rows_of_data(lab, last)
        if not finite(whole(lab, batch)):
            filled = rows_of_data(lab, np.arange(count - size, count))
            return Found(batch, last, rows, np.array([], dtype=int), filled)
    return None


def _by_forward(lab: Lab, count: int) -> Found | None:
    size, searched, passes = _size(lab), 0, _passes(lab)
    asked = int(lab.capture.data.get("batch_size") or size)
    if asked <= count and not all(np.isfinite(value) for logs in lab.capture.logs for value in logs.values()):
        size = asked  # the run met it: kernels round by the size of the batch
        passes = 4 * max(1, passes)
    look = looking_at(lab) if lab.capture.training else partial(whole, lab)
    for rows in _order(lab, count, size) if passes else ():
        # Keras's adapters cost more than a small model: they are asked once for several batches.
        pool = rows_of_data(lab, rows)
        for start in range(0, len(rows) - size + 1, size):
            part = np.arange(start, start + size)
            batch = Batch(*(take(data, part) for data in (pool.x, pool.y, pool.sample_weight)))
            point = lab.attempt(partial(look, batch))
            if point is None:
                return None
            searched, passes = searched + size, passes - 1
            if not finite(point):
                return Found(batch, rows[part], searched, np.array([], dtype=int))
            if passes <= 0:
                return None
    return None


def batch_of_unusual(lab: Lab) -> Found | None:
    """A batch with some of the unusual rows among others; None where there are none."""
    count = _count(lab)
    rows = next(_with_unusual(lab, count, _size(lab)), None) if count else None
    return None if rows is None else Found(rows_of_data(lab, rows), rows, len(rows), np.array([], dtype=int))


def _order(lab: Lab, count: int, size: int) -> Iterator[np.ndarray]:
    """Rows, a few batches at a time: first some with unusual rows among others, then as training would deal them."""
    unusual = list(islice(_with_unusual(lab, count, size), MANY))
    if unusual:
        yield np.concatenate(unusual)
    random = np.random.default_rng(0)
    shuffled = lab.capture.call == "fit" and bool(lab.capture.data.get("shuffle", True))
    order = random.permutation(count) if shuffled else np.arange(count)
    inputs = [leaf for leaf in keras.tree.flatten(lab.capture.data.get("x")) if isinstance(leaf, np.ndarray)]
    width = sum(leaf[:1].nbytes for leaf in inputs)
    several = size * max(1, min(MANY, POOL // max(1, width * size)))
    for start in range(0, count - size + 1, several):
        yield order[start : start + several]


def _with_unusual(lab: Lab, count: int, size: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    unusual = unusual_rows(lab.capture.data, count)
    few = max(1, size // 4)
    usual = np.setdiff1d(np.arange(count), unusual)
    for start in range(0, len(unusual), few):
        some = unusual[start : start + few]
        others = random.choice(usual, size=min(len(usual), size - len(some)), replace=False)
        if len(some) + len(others) == size:
            yield np.sort(np.concatenate([some, others]))


def unusual_rows(data: dict[str, Any], count: int) -> np.ndarray:
    """Rows worth looking at first: constant or not finite themselves, or equal in two arrays (a pair of twins)."""
    arrays = [leaf for key in ("x", "y") for leaf in keras.tree.flatten(data.get(key)) if _small(leaf)]
    marks = np.zeros(count, dtype=bool)
    flat = [np.asarray(leaf)[:count].reshape(count, -1) for leaf in arrays]
    for i, one in enumerate(flat):
        found = ~np.isfinite(one).all(axis=1)
        if one.shape[1] > 1:
            found |= (one == one[:, :1]).all(axis=1)
        for other in flat[:i]:
            if other.shape == one.shape:
                found |= (other == one).all(axis=1)
        if found.mean() < 0.5:
            marks |= found
    return np.flatnonzero(marks)


def _small(leaf: Any) -> bool:
    numeric = isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiub"
    return numeric and is_array(leaf) and 0 < leaf.nbytes <= LARGEST
