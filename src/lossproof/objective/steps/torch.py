"""The train step with a gradient per term, on PyTorch (after keras/src/backend/torch/trainer.py, Keras 3.15)."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import torch

from lossproof import keras_private
from lossproof.objective.steps.contract import sum_with
from lossproof.objective.steps.replicas import on_global_batch

Tensor = Any


def train_step(trainer: Any, data: Any) -> Any:
    """One step on one batch: one forward pass, K backward passes from it, one update; the logs."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    weighting, optimizer = trainer.weighting, trainer.optimizer
    y_pred = trainer(x, training=True) if keras_private.takes_training(trainer) else trainer(x)
    trainer.zero_grad()
    parts = trainer.loss_parts(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
    total = weighting.total(parts.values, training=True)
    loss = total if parts.added is None else total + parts.added
    keras_private.loss_tracker(trainer).update_state(
        loss, sample_weight=next(one for one in keras.tree.flatten(x) if one is not None).shape[0]
    )

    variables = trainer.trainable_weights[:]
    if variables:
        gradients, extra = _gradients(optimizer, parts, [variable.value for variable in variables])
        with torch.no_grad():
            combined = _combined(trainer, gradients, parts.values, extra)
            for variable, gradient in zip(variables, combined, strict=True):
                # Where `backward` of Keras's own step leaves it.
                variable.value.grad = gradient
            optimizer.apply(combined, variables)
    else:
        warnings.warn("The model does not have any trainable weights.", stacklevel=2)
    trainer.track_weights(parts, x)
    return trainer.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _gradients(optimizer: Any, parts: Any, weights: list[Tensor]) -> tuple[list[list[Tensor]], list[Tensor]]:
    """The gradients of the scaled terms and of the scaled added losses, each from the one forward pass."""
    losses = [*parts.values, *([] if parts.added is None else [parts.added])]
    rows: list[list[Tensor]] = []
    for k, loss in enumerate(losses):
        if not loss.requires_grad:  # a constant: no weight moves it
            rows.append([None] * len(weights))
            continue
        kept = k + 1 < len(losses)
        rows.append(
            list(torch.autograd.grad(optimizer.scale_loss(loss), weights, retain_graph=kept, allow_unused=True))
        )
    terms = len(parts.values)
    return rows[:terms], rows[terms] if len(rows) > terms else [None] * len(weights)


def _combined(trainer: Any, gradients: list[list[Tensor]], values: Any, extra: list[Tensor]) -> list[Tensor]:
    """What the optimizer is given: the combined gradient of the terms plus that of the added losses, both scaled."""
    scale = trainer.optimizer.scale_loss(torch.ones((), device=values[0].device))
    unscaled = [[None if one is None else one / scale for one in row] for row in gradients]
    # In several processes: the gradients of the global batch.
    rows = [*unscaled, [None if one is None else one / scale for one in extra]]
    reached = [(k, p) for k, row in enumerate(rows) for p, one in enumerate(row) if one is not None]
    for (k, p), one in zip(reached, on_global_batch([rows[k][p] for k, p in reached]), strict=True):
        rows[k][p] = one
    seen = on_global_batch([value.detach() for value in values])
    combined = trainer.weighting.combine(rows[:-1], seen, trainer.trainable_weights)
    return [None if one is None else one * scale for one in sum_with(combined, rows[-1])]
