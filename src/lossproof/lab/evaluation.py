"""The captured objective, evaluated once as the script would: what it heard, its total, its penalties."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.backends import running_backend
from lossproof.lab.backends.base import Tensor
from lossproof.lab.listen import Heard, Hearing, listening
from lossproof.lab.model import Forward, Functional
from lossproof.lab.received import Batch
from lossproof.lab.step import run_step


@dataclass(frozen=True)
class Evaluation:
    """One evaluation on the captured batch and weights, in training mode."""

    forward: Forward | None
    """None where the model of a custom step cannot be called on the inputs of the batch as they are."""
    total: float
    losses: tuple[Heard, ...]
    """The calls of `keras.losses.Loss` that had values, not tracers."""
    added: tuple[float, ...]
    """`model.losses` after the forward pass: regularizers and `add_loss`."""
    gradients: tuple[np.ndarray | None, ...] | None = None
    """Of the total, for each trainable weight, where they were had along with the values."""
    seconds: float = 0.0
    """How long it took."""


def evaluate(model: Functional, batch: Batch, own_step: bool, with_gradients: bool = False) -> Evaluation:
    """Evaluate the objective, and its gradient where one pass gives both.

    Args:
        model: The captured model.
        batch: What the step received.
        own_step: Whether the user's model has a `train_step` of its own, which is then run.
        with_gradients: Whether the gradient is wanted as well.

    Raises:
        Whatever the user's code raises.
    """
    if own_step:
        outcome = run_step(model, batch)
        forward: Forward | None = None
        added: tuple[float, ...] = ()
        with suppress(Exception), model.scope():  # a step may hand the model something else than its inputs
            forward = model.forward(batch.x)
            added = _values(forward.losses)
        return Evaluation(forward, sum(outcome.losses), _concrete(outcome.hearing), added)
    began = time.perf_counter()
    evaluated = None
    if with_gradients and running_backend().has_values_while_differentiating:
        with suppress(Exception):  # what refuses to be differentiated may well have a value
            evaluated = _with_gradients(model, batch)
    if evaluated is None:
        evaluated = _values_of(model, batch, None)[1]
    return replace(evaluated, seconds=time.perf_counter() - began)


def _with_gradients(model: Functional, batch: Batch) -> Evaluation:
    backend = running_backend()
    evaluated: list[Evaluation] = []

    def total(*weights: Tensor) -> Tensor:
        value, evaluation = _values_of(model, batch, list(weights))
        evaluated.append(evaluation)
        return value

    _, gradients = backend.gradient(total, model.start)
    arrays = tuple(None if gradient is None else backend.numpy(gradient) for gradient in gradients)
    return replace(_detached(evaluated[0]), gradients=arrays)


def _values_of(model: Functional, batch: Batch, weights: list[Tensor] | None) -> tuple[Tensor, Evaluation]:
    with listening() as hearing, model.scope(weights):
        forward = model.forward(batch.x)
        added = _values(forward.losses)
        total = model.compute_loss(batch, forward)
    return total, Evaluation(forward, float(np.sum(running_backend().numpy(total))), _concrete(hearing), added)


def _detached(evaluation: Evaluation) -> Evaluation:
    """The same values without their history. A tensor that stands in several places still does so."""
    detached: dict[int, tuple[Any, Any]] = {}

    def cut(leaf: Any) -> Any:
        if not running_backend().is_tensor(leaf):
            return leaf
        if id(leaf) not in detached:
            copy = running_backend().detached(leaf)
            keras_private.set_mask(copy, keras_private.mask_of(leaf))
            detached[id(leaf)] = leaf, copy
        return detached[id(leaf)][1]

    def everywhere(data: Any) -> Any:
        return data if data is None else keras.tree.map_structure(cut, data)

    forward = evaluation.forward
    if forward is not None:
        forward = Forward(everywhere(forward.y_pred), everywhere(forward.losses))
    heard = tuple(
        Heard(one.target, *map(everywhere, (one.y_true, one.y_pred, one.sample_weight, one.result)))
        for one in evaluation.losses
    )
    return replace(evaluation, forward=forward, losses=heard)


def _values(losses: list[Tensor]) -> tuple[float, ...]:
    return tuple(float(np.sum(running_backend().numpy(loss))) for loss in losses)


def _concrete(hearing: Hearing) -> tuple[Heard, ...]:
    backend = running_backend()

    def has_values(data: Any) -> bool:
        leaves = [leaf for leaf in keras.tree.flatten(data) if backend.is_tensor(leaf)]
        return all(backend.is_concrete(leaf) for leaf in leaves)

    return tuple(one for one in hearing.losses if has_values((one.y_true, one.y_pred, one.sample_weight)))
