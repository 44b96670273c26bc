"""In which mode the layers of a model run in its training step, and in which they would with the flag handed through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.place import place_of_function
from lossproof.capture.userfiles import is_user_file, is_user_function
from lossproof.findings.finding import Place
from lossproof.lab.backends import running_backend
from lossproof.lab.lab import Lab
from lossproof.lab.replace import replaced
from lossproof.lab.step import run_step


@dataclass
class Called:
    """The calls of one layer."""

    layer: Any
    owner: Any
    """The innermost layer of a user's class that calls it; None for the model itself, or where there is none."""
    active: bool = False
    """Whether one of the calls was in training mode."""
    inputs: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inactive:
    """Layers that run in inference mode in every training step, and would not if the flag were handed through."""

    layers: tuple[str, ...]
    change: float
    """How far the output of the first of them moves with its mode, at most, on the captured batch."""
    scale: float
    """The largest output in training mode."""
    where: Place | None
    within: str
    """Whose code calls it."""
    before: float | None
    after: float | None
    """The objective on the captured batch in inference mode, and with the flag handed through."""


class _Outer(keras.layers.Layer):
    """A layer around the model: in its call, Keras hands `training` to every layer that is not told another value."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = [model]  # in a list, so that Keras does not track it

    def build(self, *_: Any) -> None:
        self.built = True

    def call(self, x: Any, training: Any = None) -> Any:
        return self._model[0](x)


def sensitive(model: Any) -> list[Any]:
    """The layers of a model whose `call` takes `training`, other than those that only hand it through."""
    return [layer for layer in keras_private.layers_of(model) if _is_candidate(layer)]


def _is_candidate(layer: Any) -> bool:
    if isinstance(layer, (keras.Model, _Outer)) or not keras_private.takes_training(layer):
        return False
    own = not is_user_function(type(layer).call)
    return own or not any(one is not layer for one in keras_private.layers_of(layer))


def inactive(lab: Lab) -> Inactive | None:
    """Which layers the training step runs in the wrong mode; None where it runs none so.

    Raises:
        Whatever the user's code raises.
    """
    model = lab.capture.model
    if not sensitive(model):
        return None
    with _heard() as in_step:
        # Keras's step on JAX goes by `stateless_call`, which hands the flag to `call` and no further.
        if lab.overrides_train_step or lab.backend.name == "jax":
            run_step(lab.model, lab.batch)
        else:
            _rehearse(lab)
    asleep = [one for one in in_step.values() if not one.active]
    if not asleep:
        return None
    with lab.undisturbed(), lab.model.scope(), _heard() as handed:
        y_pred = _Outer(model)(lab.batch.x, training=True)
        awake = {key for key, one in handed.items() if one.active}
        wrong = [one for one in asleep if id(one.layer) in awake]
        measured = [(one, _moved(lab, handed[id(one.layer)])) for one in wrong]
        moved = [(one, pair) for one, pair in measured if pair is not None and pair[0] > 0.0]
        if not moved:
            return None
        after = _objective(lab, y_pred)
    before = None
    with suppress(Exception), lab.undisturbed(), lab.model.scope():
        before = _objective(lab, lab.model.forward(lab.batch.x, training=False).y_pred)
    first, (change, scale) = moved[0]
    where, within = _whose(lab, first)
    return Inactive(tuple(one.layer.name for one, _ in moved), change, scale, where, within, before, after)


def _rehearse(lab: Lab) -> None:
    """The calls of a forward pass as Keras's own step makes it."""

    def forward() -> None:
        with lab.undisturbed(), lab.model.scope():
            lab.model.forward(lab.batch.x)

    lab.backend.outline(forward)


@contextmanager
def _heard() -> Iterator[dict[int, Called]]:
    """Inside, the calls of layers that have a mode are noted, with the mode that Keras gives them."""
    found: dict[int, Called] = {}
    stack: list[Any] = []

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            stack.append(layer)
            try:
                return original(layer, *args, **kwargs)
            finally:
                stack.pop()

        return call

    def at(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            inner = [one for one in stack[:-1] if isinstance(one, keras.layers.Layer) and _is_candidate(one)]
            if stack and stack[-1] is operation and not inner and _is_candidate(operation):
                users = [one for one in stack[:-1] if is_user_function(type(one).call) and not isinstance(one, _Outer)]
                known = found.setdefault(id(operation), Called(operation, users[-1] if users else None))
                known.active = known.active or bool(kwargs.get("training"))
                known.inputs = args
                known.named = {key: value for key, value in kwargs.items() if key != "training"}
            return original(operation, *args, **kwargs)

        return call

    with ExitStack() as replacements:
        replacements.enter_context(replaced(keras.layers.Layer, "__call__", around))
        replacements.enter_context(replaced(keras.Operation, "__call__", at))
        yield found


def _moved(lab: Lab, called: Called) -> tuple[float, float] | None:
    """How far the output of a layer moves with its mode at most, and the largest output in training mode."""

    def outputs(training: bool) -> list[np.ndarray]:
        with running_backend().repeatable(), lab.model.scope():  # each from the captured statistics
            result = called.layer(*called.inputs, training=training, **called.named)
        return [lab.number(leaf) for leaf in keras.tree.flatten(result) if running_backend().is_tensor(leaf)]

    try:
        pairs = list(zip(outputs(True), outputs(False), strict=True))
        change = max(float(np.max(np.abs(a - b))) for a, b in pairs)
        return change, max(float(np.max(np.abs(a))) for a, _ in pairs)
    except Exception:  # called inside a loop of the backend, where tensors have no values
        return None


def _objective(lab: Lab, y_pred: Any) -> float | None:
    from lossproof.lab.model import Forward

    try:
        total = lab.model.compute_loss(lab.batch, Forward(y_pred, list(lab.capture.model.losses)))
        value = float(np.sum(lab.number(total)))
    except Exception:  # a step of the user's that needs no compute_loss
        return None
    return value if np.isfinite(value) else None


def _whose(lab: Lab, called: Called) -> tuple[Place | None, str]:
    """The code that should hand the flag on: the user's step, or the `call` of the user's class around the layer."""
    model = lab.capture.model
    if lab.overrides_train_step:
        return lab.place_of_method("train_step"), "train_step"
    owner = called.owner if called.owner is not None else model
    place = place_of_function(type(owner).call)
    if place is None or not is_user_file(place.file):
        return lab.capture.where, "the model"
    return place, f"{type(owner).__name__}.call"
