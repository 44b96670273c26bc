"""What `class_weight` looks up: one class per sample, the argmax of its row of targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossproof.lab.failure import in_words, same_failure
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs
from lossproof.lab.wiring.outputs import as_numpy


@dataclass(frozen=True)
class FirstOnly:
    """`class_weight` on samples with several labels, or with none: the first label's weight alone acts."""

    rows: int
    count: int
    before: float
    after: float
    """The loss with the mean weight of each sample's labels."""


@dataclass(frozen=True)
class PositionLooked:
    """`class_weight` on rows of class numbers: the position of the largest number is taken for the class."""

    shape: tuple[int, int]
    """Of the targets."""
    wrong: int
    """Class numbers that get another weight than that of their class."""
    before: float | str
    """The loss, or the error with which Keras applies one weight per sample to one loss per class number."""
    after: float
    """The loss with the weight of its class for each number."""


def first_label_only(lab: Lab) -> FirstOnly | None:
    """Whether `class_weight` meets samples that have several labels."""
    weights = lab.capture.data.get("class_weight")
    if not isinstance(weights, dict) or not weights or len(lab.losses) != 1 or lab.batch.sample_weight is None:
        return None
    (subject,) = lab.losses
    target, given = lab.number(lab.batch.y), lab.number(lab.batch.sample_weight).reshape(-1)
    if target.ndim != 2 or target.shape[1] < 2 or not np.isin(target, (0, 1)).all() or one_hot(target):
        return None
    if lab.compiled.outputs.items[0].shape != target.shape:
        return None  # class numbers, one for each place of a sample
    table = np.array([float(weights.get(i, 1.0)) for i in range(target.shape[1])])
    if given.shape != target.shape[:1] or not np.allclose(given, table[target.argmax(axis=-1)], rtol=1e-5):
        return None
    labels = target.sum(axis=-1)
    meant = np.where(labels > 0, (target * table).sum(axis=-1) / np.maximum(labels, 1.0), 1.0)
    odd = ~np.isclose(meant, given)
    if not odd.any():
        return None

    def at(values: np.ndarray) -> float:
        return lab.value(subject.changed(sample_weight=lab.backend.tensor(values.astype("float32"))))

    before, after = at(given), at(meant)
    if not np.isfinite([before, after]).all() or not differs(before, after, terms=target.size):
        return None
    return FirstOnly(int(odd.sum()), len(target), before, after)


def position_looked_up(lab: Lab) -> PositionLooked | None:
    """Whether `class_weight` meets several class numbers in each row of the targets, and gives them other weights.

    The targets are class numbers if the model has scores of each class for each of them.
    """
    weights, batch = lab.capture.data.get("class_weight"), lab.compiled.received()
    if not isinstance(weights, dict) or not weights or batch.sample_weight is None or batch.y is None:
        return None
    target, given = as_numpy(batch.y), as_numpy(batch.sample_weight)
    outputs = lab.compiled.outputs.items[0].shape
    if target.ndim != 2 or target.shape[1] < 2 or given.shape != target.shape[:1]:
        return None
    if outputs[:-1] != target.shape or outputs[-1] < 2:
        return None
    numbers = np.round(target).astype(int)
    if not np.array_equal(numbers, target) or numbers.min() < 0 or numbers.max() >= outputs[-1]:
        return None
    looked, meant = (_looked_up(weights, one) for one in (target.argmax(axis=-1), numbers))
    wrong = int((~np.isclose(meant, given[:, None])).sum())
    if not np.allclose(given, looked, rtol=1e-5) or not wrong:
        return None
    failure = lab.compiled.failure(with_metrics=False)
    if (failure is None) != (lab.capture.error is None):
        return None
    if failure is not None and not same_failure(failure, lab.capture.error):
        return None
    before = in_words(failure) if failure is not None else lab.compiled.evaluate().total
    after = lab.compiled.attempt({"sample_weight": meant, "class_weight": None}, with_metrics=False)
    if after is None or (not isinstance(before, str) and not differs(before, after.total, terms=target.size)):
        return None
    return PositionLooked((len(target), target.shape[1]), wrong, before, after.total)


def _looked_up(weights: dict[int, float], numbers: np.ndarray) -> np.ndarray:
    """The weight of each number; 1 where there is none, as in Keras."""
    look = np.vectorize(lambda one: float(weights.get(int(one), 1.0)), otypes=["float32"])
    return np.asarray(look(numbers))


def one_hot(target: np.ndarray) -> bool:
    """Whether each row has a single 1 and zeros."""
    return bool(np.isin(target, (0, 1)).all() and (target.sum(axis=-1) == 1).all())
