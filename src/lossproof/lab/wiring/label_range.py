"""Two labels that are not 0 and 1, in a loss that has a minimum for labels between 0 and 1 only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.predictions import float_leaves, with_predictions
from lossproof.lab.subject import LossSubject

SURE = (4.0, 8.0, 12.0)
"""How sure predictions are made, as logits: 98 %, then more; a probability is still below 1 by what Keras cuts off."""
LEVEL = 0.1
"""A loss that levels off falls by e to the 4 less from the second to the third than from the first to the second."""


@dataclass(frozen=True)
class Unbounded:
    """A loss of surer and surer right predictions, for the labels as given and as 0 and 1."""

    subject: LossSubject
    labels: tuple[float, float]
    given: tuple[float, ...]
    recoded: tuple[float, ...]


def unbounded_labels(lab: Lab) -> Unbounded | None:
    """The loss that falls without end because its two labels are not 0 and 1; None where none does."""
    for subject in lab.losses:
        found: Unbounded | None = lab.attempt(partial(_unbounded, lab, subject))
        if found is not None:
            return found
    return None


def _unbounded(lab: Lab, subject: LossSubject) -> Unbounded | None:
    leaves = float_leaves(lab, subject)
    targets = keras.tree.flatten(subject.y_true)
    if len(leaves) != 1 or len(targets) != 1 or not lab.backend.is_tensor(targets[0]):
        return None
    target, here = lab.number(targets[0]), lab.number(leaves[0])
    labels = np.unique(target)
    if target.size != here.size or len(labels) != 2 or (labels[0] >= 0.0 and labels[1] <= 1.0):
        return None
    zero_one = (target == labels[1]).astype("float64")
    shares = here.min() >= 0.0 and here.max() <= 1.0  # probabilities, unless they are not
    bare = subject.changed(sample_weight=None)

    def values(y: np.ndarray) -> tuple[float, ...]:
        dtype = keras.backend.standardize_dtype(targets[0].dtype)
        y_true = keras.tree.pack_sequence_as(subject.y_true, [lab.backend.tensor(y, dtype=dtype)])
        signs = np.where(y > 0.5, 1.0, -1.0).reshape(here.shape)
        scores = [sure * signs for sure in SURE]
        made = [1.0 / (1.0 + np.exp(-score)) for score in scores] if shares else scores
        return tuple(lab.value(with_predictions(lab, bare, [one]).changed(y_true=y_true)) for one in made)

    given, recoded = values(target), values(zero_one)
    if not np.isfinite([*given, *recoded]).all():
        return None
    falls, levels = -np.diff(given), -np.diff(recoded)
    if not (falls[0] > 0.0 and falls[1] >= (1.0 - LEVEL) * falls[0] and given[2] < min(recoded)):
        return None
    if not 0.0 < levels[0] < falls[0] or abs(levels[1]) > LEVEL * levels[0]:
        return None
    return Unbounded(subject, (float(labels[0]), float(labels[1])), given, recoded)
