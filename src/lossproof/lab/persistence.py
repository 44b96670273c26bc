"""Real round trips of the captured model through a file, as the script makes them, and with one thing changed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.place import place_of_function
from lossproof.capture.record import Loaded, Saved
from lossproof.capture.userfiles import is_user_file
from lossproof.findings.finding import Place
from lossproof.lab.compiled import name_of
from lossproof.lab.lab import Lab
from lossproof.lab.model import Functional
from lossproof.lab.noise import differs
from lossproof.rules.rule import NotApplicable


@dataclass(frozen=True)
class Unloadable:
    """A file that cannot be written or read because of the objective in it."""

    call: str
    """`save` or `load_model`."""
    error: Exception
    name: str
    """The loss or metric, in the user's words."""
    kind: str
    """`closure`, `lambda`, `function`, `class` or `arguments`."""
    where: Place | None
    """Where the user wrote it."""
    called: Place | None
    """Where the script saves or loads."""
    objects: tuple[str, ...]
    """The names with which the file can be loaded; empty where no names help."""
    before: float | None
    """The objective of the model, and of the one loaded with those names, in inference mode."""
    after: float | None


@dataclass(frozen=True)
class ChangedByFile:
    """An objective that comes back from a file as another one."""

    name: str
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


def saves_of(lab: Lab) -> list[Saved]:
    """Where the script writes the captured model to a file.

    Raises:
        NotApplicable: It does not.
    """
    found = [one for one in lab.run.saved if lab.capture.model is not None and one.model() is lab.capture.model]
    if not found:
        raise NotApplicable("the script does not save this model")
    return found


def unloadable(lab: Lab) -> Unloadable | None:
    """The proof that a file of this model fails because of its objective; None where nothing fails, or another thing.

    The same file must load without its objective (`compile=False`), or be written without it, and the loss or metric
    alone must fail to make the way through its configuration.
    """
    saves = saves_of(lab)
    for save in saves:
        if save.error is not None:
            return lab.attempt(partial(_unwritable, lab, save))  # type: ignore[no-any-return]
    paths = {save.path for save in saves}
    for load in lab.run.loaded:
        if load.error is not None and load.path in paths:
            return lab.attempt(partial(_unreadable, lab, load))  # type: ignore[no-any-return]
    return None


def _unreadable(lab: Lab, load: Loaded) -> Unloadable | None:
    with _written(lab, load.path) as path:
        error = _raised(lambda: keras.saving.load_model(path, **load.arguments))
        if type(error) is not type(load.error) or error is None:
            return None
        keras.saving.load_model(path, **{**load.arguments, "compile": False})  # raises where the layers are to blame
        culprit = _culprit(lab, load.arguments.get("custom_objects") or {})
        if culprit is None:
            return None
        named = _named(lab)
        told = {**(load.arguments.get("custom_objects") or {}), **named}
        again = lab.attempt(lambda: keras.saving.load_model(path, **{**load.arguments, "custom_objects": told}))
        before = after = None
        if again is not None:
            before, after = (lab.attempt(partial(_total, lab, one)) for one in (lab.capture.model, again))
        name, target = culprit
        needed = tuple(key for key, value in named.items() if value is target or value is type(target))
        return Unloadable(
            "load_model", error, name, _kind(target, again is not None), _place(target), load.where,
            needed if again is not None else (), before, after,
        )  # fmt: skip


def _unwritable(lab: Lab, save: Saved) -> Unloadable | None:
    error = _raised(lambda: _save(lab, save.path))
    if type(error) is not type(save.error) or error is None:
        return None
    with keras_private.without_compile_config():
        _save(lab, save.path)  # raises where the layers are to blame
    culprit = _culprit(lab, {})
    if culprit is None:
        return None
    name, target = culprit
    return Unloadable(
        "save", error, name, _kind(target, False), _place(target), save.where, (), None, None
    )  # fmt: skip


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
    told = {**_named(lab), **((used.arguments.get("custom_objects") or {}) if used is not None else {})}
    model = lab.capture.model
    with _written(lab, saves[-1].path) as path:
        again = lab.attempt(lambda: keras.saving.load_model(path, custom_objects=told, safe_mode=False))
    if again is None or not getattr(again, "compiled", False) or not keras_private.compile_loss(again):
        return None
    totals = [lab.attempt(partial(_total, lab, one)) for one in (model, again)]
    if None in totals or not np.isfinite(totals).all():
        return None
    before, after = totals
    if not differs(before, after, terms=max(2, lab.losses[0].batch_size if lab.losses else 2)):
        return None
    if not _same_predictions(lab, again) or _random(lab, model):
        return None
    pairs = list(zip(keras_private.flat_losses(model), keras_private.flat_losses(again), strict=False))
    for (_, mine, _, _), (_, theirs, _, _) in pairs:
        attributes = tuple(_changed(mine, theirs))
        if attributes:
            restored = lab.attempt(partial(_total_with, lab, again, theirs, attributes))
            target = keras_private.wrapped_function(mine) or mine
            called = used.where if used is not None else saves[-1].where
            return ChangedByFile(
                name_of(mine), _place(target), called, used is not None, before, after, attributes, restored
            )
    return None


# One round trip --------------------------------------------------------------------------------------------------


@contextmanager
def _written(lab: Lab, like: str) -> Iterator[Path]:
    """The model in a file of the same format, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{Path(like).suffix or '.keras'}"
        lab.capture.model.save(path)
        yield path


def _save(lab: Lab, like: str) -> None:
    with _written(lab, like):
        pass


def _raised(run: Callable[[], Any]) -> Exception | None:
    try:
        run()
    except Exception as error:  # what it is, is the answer
        return error
    return None


def _parts(lab: Lab) -> list[Any]:
    """The losses and metrics that `compile` was told, strings apart."""
    compiled = lab.capture.compiled
    told = compiled.arguments if compiled is not None else keras_private.compile_arguments(lab.capture.model)
    leaves = [leaf for key in ("loss", "metrics", "weighted_metrics") for leaf in keras.tree.flatten(told.get(key))]
    return [leaf for leaf in leaves if leaf is not None and not isinstance(leaf, str)]


def _named(lab: Lab) -> dict[str, Any]:
    """`custom_objects` for everything of the user's in the objective."""
    found: dict[str, Any] = {}
    for leaf in _parts(lab):
        target = getattr(leaf, "fn", leaf)
        if isinstance(leaf, (keras.losses.Loss, keras.metrics.Metric)) and _place(type(leaf)) is not None:
            found[type(leaf).__name__] = type(leaf)
        elif callable(target) and hasattr(target, "__name__"):
            found[target.__name__] = target
    return found


def _culprit(lab: Lab, custom_objects: dict[str, Any]) -> tuple[str, Any] | None:
    """The first loss or metric that does not make the way through its own configuration."""
    for leaf in _parts(lab):

        def round_trip(one: Any = leaf) -> Any:
            return keras.saving.deserialize_keras_object(
                keras.saving.serialize_keras_object(one), custom_objects=custom_objects
            )

        if _raised(round_trip) is not None:
            return name_of(leaf), leaf
    return None


def _kind(target: Any, loads_by_name: bool) -> str:
    function = getattr(target, "fn", target)
    if isinstance(target, (keras.losses.Loss, keras.metrics.Metric)) and not hasattr(target, "fn"):
        return "class" if loads_by_name else "arguments"
    if getattr(function, "__name__", "") == "<lambda>":
        return "lambda"
    return "closure" if "<locals>" in getattr(function, "__qualname__", "") else "function"


def _place(target: Any) -> Place | None:
    place = place_of_function(getattr(target, "fn", target))
    return place if place is not None and is_user_file(place.file) else None


# The objective of a model, reloaded or not -----------------------------------------------------------------------


def _total(lab: Lab, model: Any) -> float:
    """On the captured batch with the present weights, as an evaluation computes it."""
    functional = Functional(model, None)
    with lab.undisturbed(), functional.scope():
        return float(
            np.sum(lab.number(functional.compute_loss(lab.batch, functional.forward(lab.batch.x, False), False)))
        )


def _predictions(lab: Lab, model: Any) -> list[np.ndarray]:
    functional = Functional(model, None)
    with lab.undisturbed(), functional.scope():
        return [lab.number(leaf) for leaf in keras.tree.flatten(functional.forward(lab.batch.x, False).y_pred)]


def _same_predictions(lab: Lab, again: Any) -> bool:
    mine, theirs = (_predictions(lab, model) for model in (lab.capture.model, again))
    return len(mine) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def _random(lab: Lab, model: Any) -> bool:
    return bool(_total(lab, model) != _total(lab, model))


def _changed(mine: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """The plain attributes of a loss, and the arguments bound to its function, that are not as they were."""
    for a, b in (
        (vars(mine), vars(theirs)),
        (keras_private.bound_arguments(mine), keras_private.bound_arguments(theirs)),
    ):
        for key in a:
            if isinstance(a[key], (bool, int, float, str)) and key in b and a[key] != b[key] and key != "name":
                yield key, a[key], b[key]


def _total_with(lab: Lab, model: Any, loss: Any, attributes: tuple[tuple[str, Any, Any], ...]) -> float:
    """The total with some attributes of a loss as they were before it was saved."""
    bound = keras_private.bound_arguments(loss)
    for key, before, _ in attributes:
        if key in vars(loss):
            vars(loss)[key] = before
        if key in bound:
            bound[key] = before
    return _total(lab, model)
