"""A subject with all of its tensors in another form: without weights and masks, in float64."""

from __future__ import annotations

from typing import Any

import keras

from lossproof import keras_private
from lossproof.lab.lab import Lab
from lossproof.lab.subject import LossSubject, Subject


def bare(lab: Lab, subject: Subject) -> Subject:
    """Without sample weights and masks, which Keras brings in after the loss; what a `compute_loss` does is its own."""
    if not isinstance(subject, LossSubject):
        return subject
    fresh = keras.tree.map_structure(lambda leaf: lab.backend.detached(keras.ops.add(leaf, 0)), subject.y_pred)
    return subject.changed(sample_weight=None, y_pred=fresh)


def widened(subject: Subject) -> Subject:
    """The same subject with every floating point number in float64."""

    def widen(leaf: Any) -> Any:
        if not hasattr(leaf, "dtype") or "float" not in keras.backend.standardize_dtype(leaf.dtype):
            return leaf
        wide = keras.ops.cast(leaf, "float64")
        keras_private.set_mask(wide, keras_private.mask_of(leaf))
        return wide

    fields = ("y_true", "y_pred", "sample_weight")
    given = {name: getattr(subject, name) for name in fields}
    wide = {name: keras.tree.map_structure(widen, data) for name, data in given.items() if data is not None}
    return subject.changed(**wide, **({"precision": "float64"} if isinstance(subject, LossSubject) else {}))
