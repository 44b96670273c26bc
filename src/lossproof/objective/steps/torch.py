"""The train step with a gradient per term, on PyTorch (after keras/src/backend/torch/trainer.py, Keras 3.15)."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import torch

from lossproof import keras_private
from lossproof.objective.steps.contract import scales, sum_with
from lossproof.objective.steps.replicas import on_global_batch, start_alike

Tensor = Any


def train_step(trainer: Any, data: Any) -> Any:
    """One step on one batch: one forward pass, K backward passes from it, one update; the logs.

    Also the step of objectives without such a strategy where several processes train together: one backward pass, whose
    gradient is averaged over the processes before the update.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    optimizer = trainer.optimizer
    start_alike(trainer)
    y_pred = trainer(x, training=True) if keras_private.takes_training(trainer) else trainer(x)
    trainer.zero_grad()
    parts = None
    if trainer.weighting is not None and trainer.weighting.needs_gradients:
        parts = trainer.loss_parts(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        total = trainer.weighting.total(parts.values, training=True)
        loss = total if parts.added is None else total + parts.added
    else:
        loss = trainer.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
    keras_private.loss_tracker(trainer).update_state(
        loss, sample_weight=next(one for one in keras.tree.flatten(x) if one is not None).shape[0]
    )

    variables = trainer.trainable_weights[:]
    if variables:
        weights = [variable.value for variable in variables]
        if parts is None:
            combined = _gradient(optimizer.scale_loss(loss), weights, kept=False)
            _average([combined])
        else:
            rows, extra = _gradients(optimizer, parts, weights)
            with torch.no_grad():
                combined = _combined(trainer, rows, parts.values, extra)
        with torch.no_grad():
            for weight, gradient in zip(weights, combined, strict=True):
                weight.grad = gradient  # where `backward` of Keras's own step leaves it
            optimizer.apply(combined, variables)
    else:
        warnings.warn("The model does not have any trainable weights.", stacklevel=2)
    if parts is not None:
        trainer.track(parts, x)
    return trainer.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _gradient(loss: Tensor, weights: list[Tensor], kept: bool) -> list[Tensor]:
    if not loss.requires_grad:  # a constant: no weight moves it
        return [None] * len(weights)
    return list(torch.autograd.grad(loss, weights, retain_graph=kept, allow_unused=True))


def _gradients(optimizer: Any, parts: Any, weights: list[Tensor]) -> tuple[list[list[Tensor]], list[Tensor]]:
    """The gradients of the scaled terms and of the scaled added losses, each from the one forward pass."""
    losses = [*parts.values, *([] if parts.added is None else [parts.added])]
    last = len(losses) - 1
    rows = [_gradient(optimizer.scale_loss(loss), weights, kept=k < last) for k, loss in enumerate(losses)]
    terms = len(parts.values)
    return rows[:terms], rows[terms] if len(rows) > terms else [None] * len(weights)


def _combined(trainer: Any, gradients: list[list[Tensor]], values: Any, extra: list[Tensor]) -> list[Tensor]:
    """What the optimizer is given: the combined gradient of the terms plus that of the added losses, both scaled."""
    scale = trainer.optimizer.scale_loss(torch.ones((), device=values[0].device))
    scaled = scales(trainer.optimizer)
    rows = [[one if one is None or not scaled else one / scale for one in row] for row in gradients]
    # A nonlinear function of the gradients needs those of the global batch.
    _average([*rows, extra])
    seen = on_global_batch([value.detach() for value in values])
    combined = trainer.weighting.combine(rows, seen, trainer.trainable_weights)
    return sum_with([one if one is None or not scaled else one * scale for one in combined], extra)


def _average(rows: list[list[Tensor]]) -> None:
    """Replace gradients by their means over the processes, if there are several."""
    reached = [(k, p) for k, row in enumerate(rows) for p, one in enumerate(row) if one is not None]
    for (k, p), one in zip(reached, on_global_batch([rows[k][p] for k, p in reached]), strict=True):
        rows[k][p] = one
