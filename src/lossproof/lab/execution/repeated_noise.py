"""Noise that is the same in every step because its seed is a number.

`keras.random.normal(shape, seed=7)` is a function of its arguments: it gives the same numbers at each call, compiled or
not. That is what a fixed projection, or an initial value, asks for, and not what noise does. Two things tell noise:

- the numbers are drawn for the rows of the batch. Each step brings other rows, and the same numbers to them. Numbers that
  only put the rows in an order do no harm, as the rows of a step are in no order;
- the objective alone draws them, not a prediction, and they keep some weights from any gradient that predictions depend
  on, as the mask of an autoencoder does. Under another seed it would be other weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras
import numpy as np

from lossproof.capture.batch import Recorded, count_batches
from lossproof.lab.execution.constant_seeds import (
    LEAST,
    Draw,
    Look,
    Reseed,
    distance,
    draws_with_integers,
    evaluated,
    predicted,
    same,
)
from lossproof.lab.lab import Lab
from lossproof.lab.received import Batch
from lossproof.rules.rule import NotApplicable

MOST_WORK = 1e9
"""Multiplications of a forward pass (see `work`) beyond which no further one is made."""
OTHER_SEEDS = 3
POINTS = 6
"""Sets of weights at which a gradient is looked for, the captured ones among them."""


@dataclass(frozen=True)
class RepeatedNoise:
    """Noise that is no noise, and what other numbers would make of the objective."""

    way: Literal["rows", "weights"]
    draw: Draw
    losses: tuple[float, float]
    """Of two steps with the seed as it is written."""
    others: tuple[float, ...]
    """The same with other seeds."""
    moved: float
    """How far other numbers move the gradient, as a share of it."""
    lost: int = 0
    """How many numbers of the weights get no gradient in any step, though predictions depend on them."""
    numbers: int = 0


def repeated_noise(lab: Lab) -> RepeatedNoise | None:
    """The proof that noise is the same in every step; None where what is drawn with a constant seed may be meant to be.

    Raises:
        NotApplicable: Nothing is drawn with a constant seed, or the steps do not meet other rows.
    """
    if lab.evaluation.work > MOST_WORK:
        raise NotApplicable("one evaluation is too much work for a second one")
    if not lab.overrides_train_step and not draws_with_integers(lab):
        raise NotApplicable("nothing random is drawn in Python, or with a constant seed")
    with lab.capture.changes.moved_inside():  # a seed that the objective itself counts up is none that stays
        looks = [evaluated(lab, lab.batch)]
        if not looks[0].draws:
            raise NotApplicable("nothing random is drawn in Python, or with a constant seed")
        if not _meets_other_rows(lab):
            raise NotApplicable("each step meets the same rows")
        looks += [evaluated(lab, lab.batch) for _ in range(2)]
    if any(look.draws != looks[0].draws for look in looks):
        return None
    if _changed_by_script(lab, {draw.seed for draw in looks[0].draws}):
        return None
    if not all(same(looks[0].gradients, look.gradients) for look in looks):
        return None  # it depends on more than on what was drawn here
    return _of_rows(lab, *looks[:2]) or _of_weights(lab, *looks[:2])


def _meets_other_rows(lab: Lab) -> bool:
    data = lab.capture.data
    if lab.capture.call not in ("fit", "check"):
        return False
    x = data.get("x")
    if isinstance(x, Recorded):
        return len(x.batches) > 1
    batches = count_batches(x, data.get("batch_size"), data.get("validation_split") or 0.0)
    return batches is not None and batches > 1


def _changed_by_script(lab: Lab, seeds: set[int]) -> bool:
    """Whether one of the seeds may be a value that the script changes from time to time."""
    changes = [*lab.capture.changes.changed.values(), *lab.changed_by_objective]
    return any(type(value) is int and value in seeds for one in changes for value in (one.before, one.after))


# Drawn for the rows of the batch ----------------------------------------------------------------------------------


def _of_rows(lab: Lab, first: Look, second: Look) -> RepeatedNoise | None:
    size = lab.batch_size
    if size < 4:
        return None
    fewer = lab.attempt(lambda: evaluated(lab, _some_rows(lab, size // 2)))
    if fewer is None or [one.seed for one in fewer.draws] != [one.seed for one in first.draws]:
        return None
    pairs = list(enumerate(zip(first.draws, fewer.draws, strict=True)))
    chosen = frozenset(i for i, (one, other) in pairs if _for_rows(one, other, size))
    ordering = frozenset(i for i in chosen if math.prod(first.draws[i].shape) == size and not first.draws[i].bounds)
    for i in ordering:  # one number for each row may only put the rows in an order, which larger ones leave as it is
        larger = lab.attempt(partial(evaluated, lab, lab.batch, stretched=frozenset({i})))
        if larger is None or distance(first.gradients, larger.gradients) < LEAST:
            chosen -= {i}
    for i in sorted(chosen):
        others = _with_other_seeds(lab, i)
        moved = min((distance(first.gradients, one.gradients) for one in others), default=0.0)
        if LEAST < moved < math.inf:
            losses = first.loss, second.loss
            return RepeatedNoise("rows", first.draws[i], losses, tuple(one.loss for one in others), moved)
    return None


def _with_other_seeds(lab: Lab, call: int | None) -> list[Look]:
    """The objective with other seeds for one of the calls, or for all; none where it has no value with one of them."""

    def reseed(n: int) -> Reseed:
        return lambda k, seed: seed + n if call in (None, k) else seed

    looks = [lab.attempt(partial(evaluated, lab, lab.batch, reseed(n))) for n in range(1, OTHER_SEEDS + 1)]
    return looks if all(one is not None and np.isfinite(one.loss) for one in looks) else []


def _some_rows(lab: Lab, count: int) -> Batch:
    size = lab.batch_size

    def take(leaf: Any) -> Any:
        rows = lab.backend.is_tensor(leaf) and len(leaf.shape) > 0 and leaf.shape[0] == size
        return lab.backend.rows(leaf, np.arange(count)) if rows else leaf

    def few(data: Any) -> Any:
        return None if data is None else keras.tree.map_structure(take, data)

    return Batch(few(lab.batch.x), few(lab.batch.y), few(lab.batch.sample_weight))


def _for_rows(one: Draw, other: Draw, size: int) -> bool:
    """Whether a call draws for each row: an axis grows with the batch, and nothing else does."""
    if one.bounds != other.bounds or len(one.shape) != len(other.shape):  # numbers of rows are an order, too
        return False
    differing = [(a, b) for a, b in zip(one.shape, other.shape, strict=True) if a != b]
    return bool(differing) and all(a * (size // 2) == b * size for a, b in differing)


# Drawn by the objective alone -------------------------------------------------------------------------------------


def _of_weights(lab: Lab, first: Look, second: Look) -> RepeatedNoise | None:
    start = [lab.number(tensor) for tensor in lab.model.start]
    before = lab.attempt(lambda: predicted(lab, None))
    if before is None or before[1] or [one.shape for one in first.gradients] != [one.shape for one in start]:
        return None
    random = np.random.default_rng(0)
    points: list[list[np.ndarray] | None] = [None]
    points += [
        [one + random.normal(size=one.shape) * (float(np.std(one)) or 0.1) for one in start] for _ in range(POINTS - 1)
    ]
    written = _touched(lab, points, 0)
    if written is None or all(one.all() for one in written):
        return None
    others = [_touched(lab, points, n) for n in range(1, OTHER_SEEDS + 1)]
    if None in others:
        return None
    lost = [~own & np.any([one[i] for one in others], axis=0) for i, own in enumerate(written)]  # type: ignore[index]
    numbers = sum(int(one.sum()) for one in lost)
    if not numbers:
        return None
    moved = [one + np.where(mask, np.std(one) or 0.1, 0.0) for one, mask in zip(start, lost, strict=True)]
    after = lab.attempt(lambda: predicted(lab, moved))
    if after is None or distance(before[0], after[0]) < LEAST:
        return None
    for i, draw in enumerate(first.draws):
        values = _with_other_seeds(lab, i)
        moves = min((distance(first.gradients, one.gradients) for one in values), default=0.0)
        if LEAST < moves < math.inf:
            losses, others_losses = (first.loss, second.loss), tuple(one.loss for one in values)
            return RepeatedNoise("weights", draw, losses, others_losses, moves, numbers, sum(map(np.size, start)))
    return None


def _touched(lab: Lab, points: list[list[np.ndarray] | None], n: int) -> list[np.ndarray] | None:
    """Which numbers of the weights get a gradient anywhere, with seeds larger by `n`."""
    found: list[np.ndarray] | None = None
    for weights in points:
        look = lab.attempt(partial(evaluated, lab, lab.batch, lambda _, seed: seed + n, weights))
        if look is None or not np.isfinite(look.loss):
            return None
        present = [gradient != 0.0 for gradient in look.gradients]
        found = present if found is None else [a | b for a, b in zip(found, present, strict=True)]
    return found
