"""Where a mask was made, where it was lost, and whether the positions that it hides count in a loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.blind import quiet
from lossproof.lab.lab import Lab
from lossproof.lab.minimised import minimised
from lossproof.lab.noise import differs
from lossproof.lab.predictions import float_leaves, tensor_like, with_float_leaves
from lossproof.lab.replace import replaced
from lossproof.lab.subject import StepSubject, Subject


@dataclass(frozen=True)
class Ignored:
    """A loss that counts positions which a mask hides."""

    subject: Subject
    maker: str
    """The layer that made the mask, as `Embedding 'words'`."""
    loser: str | None
    """The layer that got the mask and did not hand it on; None where the predictions have it, or none can be named."""
    kept: bool
    """Whether the predictions still have the mask."""
    padded: int
    positions: int
    before: float
    moved: float
    """The loss with other predictions at the padded positions."""
    after: float
    after_moved: float
    """The same where the loss does not count them."""


@dataclass
class _Passage:
    """The masks that came by in a forward pass."""

    masks: list[tuple[np.ndarray, str]] = field(default_factory=list)
    losers: list[str] = field(default_factory=list)
    consumed: bool = False
    """Whether a layer with a masked input gave up the time axis: there the mask has done its work."""


def ignored_mask(lab: Lab) -> Ignored | None:
    """The first loss that counts positions hidden by a mask; None where there is none."""
    if not any(_can_mask(layer) for layer in keras_private.layers_of(lab.capture.model)):
        return None
    passage: _Passage | None = lab.attempt(lambda: _passed(lab))
    if passage is None or not passage.masks:
        return None
    mask, maker = passage.masks[0]
    if mask.all() or not mask.any() or any(not np.array_equal(mask, one) for one, _ in passage.masks):
        return None
    for subject in lab.once(minimised):
        found: Ignored | None = lab.attempt(partial(_counted, lab, subject, mask, maker, passage))
        if found is not None:
            return found
    return None


def _can_mask(layer: Any) -> bool:
    return bool(getattr(layer, "mask_zero", False)) or isinstance(layer, keras.layers.Masking) or _own_mask(layer)


def _own_mask(layer: Any) -> bool:
    own = type(layer).compute_mask is not keras.layers.Layer.compute_mask
    return own and not type(layer).__module__.startswith("keras.")


def _passed(lab: Lab) -> _Passage:
    passage = _Passage()
    with quiet(lab), lab.model.scope(), _heard(lab, passage):
        lab.model.forward(lab.batch.x)
    return passage


@contextmanager
def _heard(lab: Lab, passage: _Passage) -> Iterator[None]:
    def make(original: Any) -> Any:
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            coming = next((m for m in map(_mask, keras.tree.flatten((args, kwargs))) if m is not None), None)
            result = original(layer, *args, **kwargs)
            if layer is not lab.capture.model:
                with suppress(Exception):  # symbolic tensors have no values
                    _note(lab, passage, layer, coming, result)
            return result

        return call

    with replaced(keras.layers.Layer, "__call__", make):
        yield


def _note(lab: Lab, passage: _Passage, layer: Any, coming: Any, result: Any) -> None:
    leaves = [leaf for leaf in keras.tree.flatten(result) if hasattr(leaf, "shape")]
    going = next((m for m in map(_mask, leaves) if m is not None), None)
    name = f"{type(layer).__name__} '{layer.name}'"
    if coming is None and going is not None:
        values = np.asarray(lab.backend.numpy(going))
        if values.dtype == bool and values.ndim == 2:
            passage.masks.append((values, name))
    elif coming is not None and going is None and leaves:
        shape = tuple(coming.shape)
        if tuple(leaves[0].shape)[: len(shape)] == shape:
            passage.losers.append(name)
        else:
            passage.consumed = True


def _mask(leaf: Any) -> Any:
    return keras_private.mask_of(leaf) if hasattr(leaf, "shape") else None


def _counted(lab: Lab, subject: Subject, mask: np.ndarray, maker: str, passage: _Passage) -> Ignored | None:
    if isinstance(subject, StepSubject):
        return None
    predictions, targets = keras.tree.flatten(subject.y_pred), keras.tree.flatten(subject.y_true)
    leaves = float_leaves(lab, subject)
    if len(predictions) != 1 or len(targets) != 1 or len(leaves) != 1:
        return None
    given, target = lab.number(leaves[0]), lab.number(targets[0])
    if given.shape[:2] != mask.shape or target.shape[:2] != mask.shape or not np.isfinite(given).all():
        return None
    kept = keras_private.mask_of(predictions[0]) is not None
    if (passage.consumed and not kept) or not _padded(target, mask):
        return None
    other = given.copy()
    # The predictions of other places: whatever they are, a loss can take them.
    other[~mask] = given[mask][np.arange((~mask).sum()) % mask.sum()]
    if np.array_equal(other, given):
        return None

    def at(one: Subject, values: np.ndarray) -> float:
        return lab.value(with_float_leaves(lab, one, [tensor_like(lab, values, leaves[0])]))

    terms = given.size
    before, moved = at(subject, given), at(subject, other)
    if not np.isfinite([before, moved]).all() or not differs(before, moved, terms=terms):
        return None
    for without in (_with_mask(lab, subject, mask, given, other), _gathered(lab, subject, mask, given, other)):
        if (
            without is not None
            and not differs(without[0], without[1], terms=terms)
            and differs(before, without[0], terms=terms)
        ):
            loser = passage.losers[0] if passage.losers and not kept else None
            hidden = int((~mask).sum())
            return Ignored(subject, maker, loser, kept, hidden, mask.size, before, moved, without[0], without[1])
    return None


def _padded(target: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the targets are padded where the mask is: all the same there, and not everywhere."""
    hidden, shown = target[~mask], target[mask]
    return len(hidden) > 1 and bool((hidden == hidden[0]).all()) and not bool((shown == hidden[0]).all())


def _with_mask(lab: Lab, subject: Subject, mask: np.ndarray, *predictions: np.ndarray) -> tuple[float, ...] | None:
    """The loss with the mask on the predictions, as Keras would apply it."""

    def value(values: np.ndarray) -> float:
        leaf = tensor_like(lab, values, float_leaves(lab, subject)[0])
        keras_private.set_mask(leaf, lab.backend.tensor(mask))
        return lab.value(subject.changed(y_pred=keras.tree.pack_sequence_as(subject.y_pred, [leaf])))

    found: tuple[float, ...] | None = lab.attempt(lambda: tuple(value(values) for values in predictions))
    return found if found is not None and np.isfinite(found).all() else None


def _gathered(lab: Lab, subject: Subject, mask: np.ndarray, *predictions: np.ndarray) -> tuple[float, ...] | None:
    """The loss of the positions alone that the mask shows, each as a sample of its own."""
    target = keras.tree.flatten(subject.y_true)[0]
    shown = lab.backend.tensor(lab.number(target)[mask], dtype=keras.backend.standardize_dtype(target.dtype))
    weights = subject.sample_weight
    if weights is not None:
        return None

    def value(values: np.ndarray) -> float:
        leaf = tensor_like(lab, values[mask], float_leaves(lab, subject)[0])
        y_pred = keras.tree.pack_sequence_as(subject.y_pred, [leaf])
        return lab.value(subject.changed(y_true=keras.tree.pack_sequence_as(subject.y_true, [shown]), y_pred=y_pred))

    found: tuple[float, ...] | None = lab.attempt(lambda: tuple(value(values) for values in predictions))
    return found if found is not None and np.isfinite(found).all() else None
