"""An objective that comes back from a file as another one, and what puts it right again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.findings.finding import Place
from lossproof.lab.lab import Lab
from lossproof.lab.model import Functional
from lossproof.lab.noise import differs
from lossproof.lab.persistence.files import custom_objects_of, place_of, saves_of, total_of, written
from lossproof.lab.wiring.compiled import name_of
from lossproof.rules.rule import NotApplicable


@dataclass(frozen=True)
class ChangedByFile:
    """An objective that comes back from a file as another one."""

    name: str
    part: str
    """What it is that changed: `loss`, `layer`, or `regularizer`."""
    where: Place | None
    called: Place | None
    loaded: bool
    """Whether the script itself goes on with what it loads."""
    before: float
    after: float
    attributes: tuple[tuple[str, Any, Any], ...]
    """What is not as it was on the loss: name, before, after."""
    restored: float | None
    """The reloaded objective with these attributes put back."""


def changed_by_file(lab: Lab) -> ChangedByFile | None:
    """The proof that the objective of a reloaded model has another value than the one that was saved, on the same
    weights, batch and predictions; None where it has the same one.
    """
    saves = [save for save in saves_of(lab) if save.error is None]
    if not saves:
        raise NotApplicable("the model could not be saved")
    paths = {save.path for save in saves}
    loads = [load for load in lab.run.loaded if load.path in paths and load.error is None]
    used = next((load for load in loads if load.arguments.get("compile", True)), None)
    if loads and used is None:
        raise NotApplicable("the script loads the model without its objective")
    told = {**custom_objects_of(lab), **((used.arguments.get("custom_objects") or {}) if used is not None else {})}
    model = lab.capture.model
    with written(lab, saves[-1].path) as path:
        again = lab.attempt(lambda: keras.saving.load_model(path, custom_objects=told, safe_mode=False))
    if again is None or not getattr(again, "compiled", False) or not keras_private.compile_loss(again):
        return None
    totals = [lab.attempt(partial(total_of, lab, one)) for one in (model, again)]
    if None in totals or not np.isfinite(totals).all():
        return None
    before, after = totals
    if not differs(before, after, terms=max(2, lab.losses[0].batch_size if lab.losses else 2)):
        return None
    if _random(lab, model):
        return None
    called = used.where if used is not None else saves[-1].where
    for name, part, mine, theirs in _counterparts(lab, model, again):
        attributes = tuple(_changed(mine, theirs))
        restored = lab.attempt(partial(_total_with, lab, again, theirs, attributes)) if attributes else None
        # A layer may have lost more than that; it is told where this is all.
        if attributes and (part == "loss" or (restored is not None and not differs(restored, before))):
            place = place_of(keras_private.wrapped_function(mine) or mine)
            return ChangedByFile(name, part, place, called, used is not None, before, after, attributes, restored)
    return None


def _counterparts(lab: Lab, model: Any, again: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """The parts of an objective that can hold numbers, saved and loaded: name, kind and both objects."""
    if _same_predictions(lab, again):
        pairs = zip(keras_private.flat_losses(model), keras_private.flat_losses(again), strict=False)
        yield from ((name_of(mine), "loss", mine, theirs) for (_, mine, *_), (_, theirs, *_) in pairs)
    layers = [keras_private.layers_of(one) for one in (model, again)]
    for mine, theirs in zip(*layers, strict=False):
        if type(mine) is not type(theirs):
            return
        if place_of(type(mine)) is not None:
            yield mine.name, "layer", mine, theirs
        for key, value in vars(mine).items():
            if isinstance(value, keras.regularizers.Regularizer) and place_of(type(value)) is not None:
                yield f"{type(value).__name__} of {mine.name}", "regularizer", value, getattr(theirs, key, None)


def _predictions(lab: Lab, model: Any) -> list[np.ndarray]:
    functional = Functional(model, None)
    with lab.undisturbed(), functional.scope():
        return [lab.number(leaf) for leaf in keras.tree.flatten(functional.forward(lab.batch.x, False).y_pred)]


def _same_predictions(lab: Lab, again: Any) -> bool:
    mine, theirs = (_predictions(lab, model) for model in (lab.capture.model, again))
    return len(mine) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def _random(lab: Lab, model: Any) -> bool:
    return bool(total_of(lab, model) != total_of(lab, model))


def _changed(mine: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """The plain attributes of a part, and the arguments bound to a loss's function, that are not as they were."""
    if type(mine) is not type(theirs):
        return
    ours = keras_private.set_by_keras() if isinstance(mine, keras.layers.Layer) else {"name"}
    for a, b in (
        (vars(mine), vars(theirs)),
        (keras_private.bound_arguments(mine), keras_private.bound_arguments(theirs)),
    ):
        for key in a:
            if isinstance(a[key], (bool, int, float, str)) and key in b and a[key] != b[key] and key not in ours:
                yield key, a[key], b[key]


def _total_with(lab: Lab, model: Any, part: Any, attributes: tuple[tuple[str, Any, Any], ...]) -> float:
    """The total with some attributes of a loss, layer or regularizer as they were before it was saved."""
    bound = keras_private.bound_arguments(part)
    for key, before, _ in attributes:
        if key in vars(part):
            vars(part)[key] = before
        if key in bound:
            bound[key] = before
    return total_of(lab, model)
