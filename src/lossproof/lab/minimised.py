"""Which of the losses that were heard are part of what training minimises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.evaluation import evaluate
from lossproof.lab.lab import Lab
from lossproof.lab.replace import replaced
from lossproof.lab.subject import LossSubject, Subject


def minimised(lab: Lab) -> tuple[Subject, ...]:
    """The subjects that the total is made of.

    Keras's own `compute_loss` adds every loss that has a weight. Code of the user's may evaluate a loss to report it
    only: there each loss is set to 0 and to 1, and belongs to the total if that moves.
    """
    parts: list[Subject] = [loss for loss in lab.losses if _takes_part(lab, loss)]
    return (*parts, *(one for one in (lab.objective, lab.step) if one is not None))


def pursued(lab: Lab) -> tuple[Subject, ...]:
    """The subjects that training makes as small as it can: no negative weight, no minus in front of them.

    A loss that is evaluated outside of any training is left out, since nobody knows what becomes of its value; and so is
    all of a model in which what trained weights make goes through frozen ones, which may be there to be deceived (a
    discriminator, an adversary).
    """
    model = lab.capture.model
    if model is None:
        return lab.losses if lab.capture.call == "check_loss" else ()
    if lab.once(_passes_frozen):
        return ()
    own = lab.overrides_compute_loss or lab.overrides_train_step
    found = []
    for subject in lab.once(minimised):
        if isinstance(subject, LossSubject) and (subject.weight or 0.0) < 0.0:
            continue
        if isinstance(subject, LossSubject) and own:
            totals = [lab.attempt(partial(_total_with, lab, subject.loss, value)) for value in (0.0, 1.0)]
            if totals[0] is None or totals[1] is None or totals[1] < totals[0]:
                continue
        found.append(subject)
    return tuple(found)


def _passes_frozen(lab: Lab) -> bool:
    """Whether frozen layers receive other numbers when the trained weights are others; yes where that cannot be told."""
    layers = [one for one in keras_private.layers_of(lab.capture.model) if one is not lab.capture.model and one.weights]
    frozen = {id(one) for one in layers if not one.trainable}
    if not frozen or not any(one.trainable for one in layers):
        return bool(frozen)
    received = [lab.attempt(partial(_received_by, lab, frozen, scale)) for scale in (1.0, 1.25)]
    if received[0] is None or received[1] is None or len(received[0]) != len(received[1]):
        return True
    return not all(np.array_equal(one, other, equal_nan=True) for one, other in zip(*received, strict=True))


def _received_by(lab: Lab, layers: set[int], scale: float) -> list[np.ndarray]:
    """What some layers are called on while the objective is evaluated with its trained weights scaled."""
    model = lab.model.scaled({id(variable) for variable in lab.model.trainable}, scale)
    received: list[np.ndarray] = []

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if id(self) in layers:
                tensors = [leaf for leaf in keras.tree.flatten((args, kwargs)) if lab.backend.is_tensor(leaf)]
                received.extend(lab.number(leaf) for leaf in tensors)
            return original(self, *args, **kwargs)

        return call

    with replaced(keras.layers.Layer, "__call__", make):
        evaluate(model, lab.batch, lab.overrides_train_step)
    return received


def _takes_part(lab: Lab, subject: LossSubject) -> bool:
    if subject.weight == 0.0:
        return False
    if lab.capture.model is None or not (lab.overrides_compute_loss or lab.overrides_train_step):
        return True
    totals = [lab.attempt(partial(_total_with, lab, subject.loss, value)) for value in (0.0, 1.0)]
    return totals[0] is not None and totals[1] is not None and totals[0] != totals[1]


def _total_with(lab: Lab, loss: Any, value: float) -> float:
    """The total if a loss returned a constant."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            if self is not loss:
                return result
            # Still connected with the weights, so that a step can call PyTorch's `backward` on it.
            nothing = 0.0 * keras.ops.sum(keras.ops.where(keras.ops.isfinite(result), result, 0.0))
            return nothing + value

        return call

    with replaced(keras.losses.Loss, "__call__", make):
        if lab.overrides_train_step:
            return evaluate(lab.model, lab.batch, own_step=True).total
        with lab.model.scope():  # the forward pass stays as it was
            return float(np.sum(lab.number(lab.model.compute_loss(lab.batch, lab.forward))))
