"""Sequences of class numbers counted from 0, in a loss to which 0 is no class but the blank and the end of a sequence."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.localize.shapes import shape_of
from lossproof.lab.passed import all_passed
from lossproof.lab.predictions import tensor_like
from lossproof.lab.subject import LossSubject
from lossproof.lab.wiring.labels import Recoded


def blank_taken(lab: Lab) -> Recoded | None:
    """The first loss for which a label 0 ends a sequence early though it is a class; None where there is none.

    The labels are counted from 0, with the last output left for the blank. Wherever a sequence has a 0 in it, its last label
    has no effect on its loss; with the classes numbered from 1, and the last output taken for the first, it has. Where 0
    fills up short sequences, nothing comes after it.
    """
    for subject in lab.losses:
        found: Recoded | None = lab.attempt(partial(_taken, lab, subject))
        if found is not None:
            return found
    return None


def _taken(lab: Lab, subject: LossSubject) -> Recoded | None:
    shape, outputs = shape_of(subject.y_true), shape_of(subject.y_pred)
    if shape is None or outputs is None or len(shape) != 2 or len(outputs) != 3 or shape[0] != outputs[0]:
        return None
    labels, classes = lab.number(subject.y_true).astype("float64"), int(outputs[2] or 0)
    passed = all_passed(lab, 0)
    everything = labels if passed is None or passed.shape[1:] != labels.shape[1:] else passed
    # As many labels as steps are compared step by step; then a mask may end a sequence on purpose.
    if not 2 <= labels.shape[1] < int(outputs[1] or 0) or not np.array_equal(labels, np.round(labels)):
        return None
    if everything.min() != 0 or everything.max() != classes - 2:
        return None
    cut = (labels == 0.0).any(axis=1) & (labels[:, -1] != 0.0)
    inside = (np.cumsum(labels != 0.0, axis=1) > 0) & (labels == 0.0)  # before the first label 0 may fill up as well
    if classes < 4 or not (cut & inside.any(axis=1)).any():
        return None
    bare = subject.changed(sample_weight=None)
    other = labels.copy()
    other[:, -1] = np.where(other[:, -1] == 1.0, 2.0, 1.0)  # another class, and no 0
    scores = keras.ops.roll(bare.y_pred, 1, axis=-1)
    forms = [(labels, bare.y_pred), (other, bare.y_pred), (labels + 1.0, scores), (other + 1.0, scores)]
    values = [
        lab.unreduced(bare.changed(y_true=tensor_like(lab, y, subject.y_true), y_pred=p)).reshape(-1) for y, p in forms
    ]
    if any(one.shape != cut.shape or not np.isfinite(one).all() for one in values):
        return None
    ignored, ignored_after = (np.isclose(a, b, rtol=1e-5, atol=0.0) for a, b in (values[:2], values[2:]))
    if not ignored[cut].all() or ignored_after.any() or ignored[~(labels == 0.0).any(axis=1)].any():
        return None
    return Recoded(
        given="class numbers from 0",
        assumed="class numbers from 1, and 0 for the blank",
        classes=classes,
        before=float(values[0].mean()),
        after=float(values[2].mean()),
        lost=int(cut.sum()),
        count=len(cut),
        code="y = y + 1   # and decode with 0 as the blank, not the last class",
        follows=(
            "Class 0 is taken for the blank and for the end of a sequence: it is never read, and of each sequence that has "
            f"it as many labels are left out at the end. The last label of {int(cut.sum())} of {len(cut)} sequences on this "
            "batch has no effect. Nothing raises."
        ),
        losing="sequences whose last label has no effect",
    )
