"""`model.losses` (regularizers and `add_loss`): how often an objective counts them, and what the user's code adds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof.capture.place import place_of_frame
from lossproof.capture.userfiles import is_user_file
from lossproof.findings.finding import Place
from lossproof.lab.lab import Lab
from lossproof.lab.model import Forward
from lossproof.lab.replace import replaced
from lossproof.lab.step import rerun_step
from lossproof.lab.subject import take
from lossproof.rules.rule import NotApplicable


@dataclass(frozen=True)
class Added:
    """What one `add_loss` in the user's code hands over during a forward pass."""

    value: float
    """As it counts in the total: Keras sums it (keras/src/trainers/trainer.py, `compute_loss`)."""
    shape: tuple[int, ...]
    where: Place


def added_by_user(lab: Lab, copies: int) -> tuple[Added, ...]:
    """What the user's layers add in a forward pass over the batch, repeated `copies` times.

    In inference mode, where dropout does not act; in training mode if nothing is added otherwise.
    """
    leaf = next(one for one in keras.tree.flatten(lab.batch.x) if one is not None and len(one.shape))
    x = take(lab.batch.x, np.tile(np.arange(int(leaf.shape[0])), copies))
    return _added(lab, x, training=False) or _added(lab, x, training=True)


def _added(lab: Lab, x: Any, training: bool) -> tuple[Added, ...]:
    heard: list[tuple[list[Any], Place]] = []

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def add_loss(layer: Any, loss: Any) -> Any:
            here = inspect.currentframe()
            caller = here.f_back if here is not None else None
            if caller is not None and is_user_file(caller.f_code.co_filename):
                heard.append((keras.tree.flatten(loss), place_of_frame(caller)))
            return original(layer, loss)

        return add_loss

    def program() -> list[list[Any]]:
        heard.clear()
        with lab.model.scope():
            lab.model.forward(x, training=training)
        return [losses for losses, _ in heard]

    with lab.undisturbed(), replaced(keras.layers.Layer, "add_loss", make):
        values = lab.backend.at_once(program)
    found = []
    for losses, (_, place) in zip(values, heard, strict=True):
        arrays = [lab.number(leaf) for leaf in losses]
        shape = tuple(arrays[0].shape) if len(arrays) == 1 else ()
        found.append(Added(sum(float(np.sum(array)) for array in arrays), shape, place))
    return tuple(found)


def totals_with_added_losses(lab: Lab, factors: tuple[float, ...]) -> list[float]:
    """The total with every entry of `layer.losses` multiplied by a factor, for each of `factors`."""
    return [_total(lab, factor) for factor in factors]


def _total(lab: Lab, factor: float) -> float:
    if lab.overrides_train_step:
        with scaled_losses(factor):
            losses = rerun_step(lab).losses
        if not losses:
            raise NotApplicable("the loss that this train_step differentiates could not be observed")
        return sum(losses)
    forward = lab.forward
    with lab.model.scope():
        # The forward pass again: layers add their losses during it.
        fresh = lab.model.forward(lab.batch.x)
        with scaled_losses(factor):
            grown = Forward(fresh.y_pred, [loss * factor for loss in forward.losses])
            return float(lab.number(lab.model.compute_loss(lab.batch, grown)))


@contextmanager
def scaled_losses(factor: Any) -> Iterator[None]:
    """Inside, every entry of `layer.losses` is multiplied by a number or a scalar tensor."""
    layer = keras.layers.Layer
    original = layer.losses

    def losses(self: Any) -> list[Any]:
        own = original.fget(self)
        # On JAX the trainer hands the forward losses over; there they are scaled already.
        return own if getattr(self, "_losses_override", None) else [loss * factor for loss in own]

    layer.losses = property(losses)
    try:
        yield
    finally:
        layer.losses = original
