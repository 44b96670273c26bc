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
from lossproof.lab.lab import Lab
from lossproof.lab.model import Functional
from lossproof.lab.wiring.compiled import name_of
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
    with written(lab, load.path) as path:
        error = _raised(lambda: keras.saving.load_model(path, **load.arguments))
        if type(error) is not type(load.error) or error is None:
            return None
        keras.saving.load_model(path, **{**load.arguments, "compile": False})  # raises where the layers are to blame
        culprit = _culprit(lab, load.arguments.get("custom_objects") or {})
        if culprit is None:
            return None
        named = custom_objects_of(lab)
        told = {**(load.arguments.get("custom_objects") or {}), **named}
        again = lab.attempt(lambda: keras.saving.load_model(path, **{**load.arguments, "custom_objects": told}))
        before = after = None
        if again is not None:
            before, after = (lab.attempt(partial(total_of, lab, one)) for one in (lab.capture.model, again))
        name, target = culprit
        needed = tuple(key for key, value in named.items() if value is target or value is type(target))
        return Unloadable(
            "load_model", error, name, _kind(target, again is not None), place_of(target), load.where,
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
        "save", error, name, _kind(target, False), place_of(target), save.where, (), None, None
    )  # fmt: skip


# One round trip --------------------------------------------------------------------------------------------------


@contextmanager
def written(lab: Lab, like: str) -> Iterator[Path]:
    """The model in a file of the same format, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{Path(like).suffix or '.keras'}"
        lab.capture.model.save(path)
        yield path


def _save(lab: Lab, like: str) -> None:
    with written(lab, like):
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


def custom_objects_of(lab: Lab) -> dict[str, Any]:
    """`custom_objects` for everything of the user's in the objective."""
    found: dict[str, Any] = {}
    for leaf in _parts(lab):
        target = getattr(leaf, "fn", leaf)
        if isinstance(leaf, (keras.losses.Loss, keras.metrics.Metric)) and place_of(type(leaf)) is not None:
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


def place_of(target: Any) -> Place | None:
    """Where the user wrote a loss, metric, layer or regularizer; None where it is none of the user's."""
    place = place_of_function(getattr(target, "fn", target))
    return place if place is not None and is_user_file(place.file) else None


# The objective of a model, reloaded or not -----------------------------------------------------------------------


def total_of(lab: Lab, model: Any) -> float:
    """On the captured batch with the present weights, as an evaluation computes it."""
    functional = Functional(model, None)
    with lab.undisturbed(), functional.scope():
        return float(
            np.sum(lab.number(functional.compute_loss(lab.batch, functional.forward(lab.batch.x, False), False)))
        )
