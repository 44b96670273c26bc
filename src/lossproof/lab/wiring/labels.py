"""The captured targets in another encoding, and what the objective makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from lossproof.capture.batch import in_memory
from lossproof.lab.failure import in_words, same_failure
from lossproof.lab.lab import Lab
from lossproof.lab.predictions import look
from lossproof.lab.wiring.class_weights import one_hot
from lossproof.lab.wiring.outputs import as_numpy


@dataclass(frozen=True)
class Recoded:
    """Targets in the encoding that the loss assumes."""

    given: str
    assumed: str
    classes: int
    before: float | str
    after: float
    lost: int
    """Samples on which a label is lost: it names no output and gives no gradient, say."""
    count: int
    code: str
    follows: str
    """What the loss makes of the targets as given; what Keras says, where it fails."""
    losing: str = ""
    """What `lost` counts."""


def recoded(lab: Lab) -> Recoded | None:
    """The encoding in which the targets fit the loss; None where they fit as they are."""
    compiled = lab.compiled
    if len(compiled.outputs.items) != 1 or keras.tree.is_nested(compiled.targets):
        return None
    target = as_numpy(compiled.targets)
    shape = compiled.outputs.items[0].shape
    classes = shape[-1] if len(shape) > 1 else 0
    if classes < 2 or target.dtype.kind not in "iufb" or not np.isfinite(target).all():
        return None
    if lab.capture.error is not None:
        return _refused(lab, target, shape, classes)
    return _shifted(lab, target, shape, classes)


def _refused(lab: Lab, target: np.ndarray, shape: tuple[int, ...], classes: int) -> Recoded | None:
    compiled = lab.compiled
    failure = compiled.failure()
    if failure is None or not same_failure(failure, lab.capture.error):
        return None
    flat = _numbers(target, shape)
    tries: list[tuple[str, str, np.ndarray, str]] = []
    if flat is not None:
        if flat.min() >= 0 and flat.max() < classes:
            hot = np.eye(classes, dtype="float32")[flat.astype(int)]
            code = f"y = keras.utils.to_categorical(y, {classes})"
            tries.append(("class numbers", "one-hot rows", hot, code))
        if _counted_from_one(lab, flat, classes):
            tries.append((f"class numbers from 1 to {classes}", f"0 to {classes - 1}", target - 1, "y = y - 1"))
    elif target.shape == shape and one_hot(target):
        numbers = target.argmax(axis=-1).astype("int32")
        tries.append(("one-hot rows", "class numbers", numbers, "y = y.argmax(axis=-1)"))
    for given, assumed, values, code in tries:
        wired = compiled.attempt({"y": values}, with_metrics=False)
        if wired is not None:
            told = in_words(failure)
            return Recoded(
                given, assumed, classes, told, wired.total, 0, len(target), code, f"Keras fails with {told}."
            )
    return None


def _shifted(lab: Lab, target: np.ndarray, shape: tuple[int, ...], classes: int) -> Recoded | None:
    """Class numbers counted from 1, where the backend passes over the one that names no output."""
    flat = _numbers(target, shape)
    if flat is None or not _counted_from_one(lab, flat, classes) or len(lab.losses) != 1:
        return None
    (subject,) = lab.losses
    if subject.sample_weight is not None:
        return None
    given = [lab.number(leaf) for leaf in keras.tree.flatten(subject.y_pred)]
    point = look(lab, subject, given)
    less = subject.changed(y_true=subject.y_true - 1)
    after = look(lab, less, given)
    if point.gradients[0] is None or after.gradients[0] is None or not np.isfinite([point.value, after.value]).all():
        return None
    unseen = ~point.gradients[0].any(axis=-1)
    last = _numbers(lab.number(subject.y_true), given[0].shape)
    if last is None or not unseen.any() or not np.array_equal(unseen, last == classes):
        return None
    if not after.gradients[0].any(axis=-1).all():
        return None
    return Recoded(
        f"class numbers from 1 to {classes}",
        f"0 to {classes - 1}",
        classes,
        point.value,
        after.value,
        int(unseen.sum()),
        int(unseen.size),
        "y = y - 1",
        f"Label {classes} names none of the {classes} outputs: its {int(unseen.sum())} of {unseen.size} samples on this batch "
        "get no gradient, and every other class is trained as the one after it. Nothing raises.",
        "samples without a gradient",
    )


def _numbers(target: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Whole numbers, one for each place of the predictions; None where the targets are laid out otherwise."""
    if target.shape == (*shape[:-1], 1):
        target = target[..., 0]
    if target.shape != shape[:-1] or not (target == np.floor(target)).all():
        return None
    return target


def _counted_from_one(lab: Lab, flat: np.ndarray, classes: int) -> bool:
    """Whether the labels of all data run from 1 to the number of classes."""
    data = lab.capture.data
    whole = as_numpy(data["y"]) if in_memory(data.get("y")) and not keras.tree.is_nested(data["y"]) else flat
    return bool(whole.min() == 1 and whole.max() == classes)
