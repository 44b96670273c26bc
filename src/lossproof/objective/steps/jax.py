"""The train step with a gradient per term, on JAX (after keras/src/backend/jax/trainer.py, Keras 3.15)."""

from __future__ import annotations

from typing import Any

import jax
import keras
from jax import numpy as jnp

from lossproof import keras_private
from lossproof.objective.steps.contract import Parts, sum_with

Tensor = Any


def train_step(trainer: Any, state: Any, data: Any) -> Any:
    """One step on one batch: one forward pass, K backward passes from it, one update; the logs and the new state."""
    trainable, non_trainable, optimizer_state, metric_state = state
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    optimizer = trainer.optimizer
    with keras.StatelessScope(state_mapping=list(zip(optimizer.variables, optimizer_state, strict=True))):
        scale = jnp.asarray(optimizer.scale_loss(jnp.ones(())))

    def losses_of(weights: list[Tensor]) -> Any:
        passed = {"training": True} if keras_private.takes_training(trainer) else {}
        y_pred, changed, losses = trainer.stateless_call(weights, non_trainable, x, return_losses=True, **passed)
        with keras_private.forward_losses(trainer, losses), _scope(trainer, weights, changed, metric_state) as scope:
            parts = trainer.loss_parts(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
            total = trainer.weighting.total(parts.values, training=True)
        loss = total if parts.added is None else total + parts.added
        every = [*parts.values, *([] if parts.added is None else [parts.added])]
        stacked = jnp.stack([jnp.asarray(one, "float32") for one in every])
        # Weights that are numbers as arrays, which a traced function returns.
        given = (parts.values, parts.added, parts.terms, tuple(jnp.asarray(one) for one in parts.weights))
        return stacked * scale, (given, loss, y_pred, *_state(trainer, scope))

    primal, pull, (given, loss, y_pred, non_trainable, metric_state) = jax.vjp(losses_of, trainable, has_aux=True)
    # All backward passes as one, batched over the terms.
    (by_variable,) = jax.vmap(pull)(jnp.eye(primal.shape[0], dtype=primal.dtype))
    rows = [[one[k] / scale.astype(one.dtype) for one in by_variable] for k in range(primal.shape[0])]
    parts = Parts(*given)
    values = parts.values
    with _scope(trainer, trainable, non_trainable, metric_state) as scope:
        combined = trainer.weighting.combine(rows[: len(values)], values, trainer.trainable_variables)
        trainer.track(parts, x)
    non_trainable, metric_state = _state(trainer, scope)
    gradients = sum_with(combined, rows[len(values)] if len(rows) > len(values) else [None] * len(trainable))
    trainable, optimizer_state = optimizer.stateless_apply(
        optimizer_state, [None if one is None else one * scale.astype(one.dtype) for one in gradients], trainable
    )

    logs, metric_state = _metrics(trainer, metric_state, loss, (x, y, y_pred, sample_weight))
    return logs, (trainable, non_trainable, optimizer_state, metric_state)


def _scope(trainer: Any, trainable: Any, non_trainable: Any, metric_state: Any) -> Any:
    """Inside, the variables have these values, and what is assigned to them is kept."""
    pairs = zip(
        [*trainer.trainable_variables, *trainer.non_trainable_variables, *trainer.metrics_variables],
        [*trainable, *non_trainable, *metric_state],
        strict=True,
    )
    return keras.StatelessScope(state_mapping=list(pairs))


def _state(trainer: Any, scope: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The non-trainable and the metrics' variables as the scope left them."""
    return (
        [scope.get_current_value(one) for one in trainer.non_trainable_variables],
        [scope.get_current_value(one) for one in trainer.metrics_variables],
    )


def _metrics(trainer: Any, metric_state: list[Tensor], loss: Tensor, batch: tuple[Any, ...]) -> Any:
    """The logs and the metrics' variables after the batch `(x, y, y_pred, sample_weight)`."""
    rows = next(one for one in keras.tree.flatten(batch[0]) if one is not None).shape[0]
    mapping = list(zip(trainer.metrics_variables, metric_state, strict=True))
    with keras.StatelessScope(state_mapping=mapping) as scope:
        keras_private.loss_tracker(trainer).update_state(loss, sample_weight=rows)
        logs = trainer.compute_metrics(*batch)
    return logs, [scope.get_current_value(one) for one in trainer.metrics_variables]
