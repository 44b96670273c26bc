"""The train step with a gradient per term, on TensorFlow (after keras/src/backend/tensorflow/trainer.py, Keras 3.15)."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import tensorflow as tf

from lossproof import keras_private
from lossproof.objective.steps.contract import scales, sum_with
from lossproof.objective.steps.replicas import on_global_batch, replicas

Tensor = Any


def train_step(trainer: Any, data: Any) -> Any:
    """One step on one batch: one forward pass, K backward passes from it, one update; the logs."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    weighting, optimizer = trainer.weighting, trainer.optimizer
    # Persistent: each term's gradient is taken from the same recorded pass.
    with tf.GradientTape(persistent=True) as tape:
        y_pred = trainer(x, training=True) if keras_private.takes_training(trainer) else trainer(x)
        parts = trainer.loss_parts(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        total = weighting.total(parts.values, training=True)
        scaled = [optimizer.scale_loss(value) for value in parts.values]
        added = None if parts.added is None else optimizer.scale_loss(parts.added)
    loss = total if parts.added is None else total + parts.added
    keras_private.loss_tracker(trainer).update_state(
        keras_private.undivided(loss),
        sample_weight=tf.shape(next(one for one in keras.tree.flatten(x) if one is not None))[0],
    )

    variables = trainer.trainable_weights
    if variables:
        gradients = [tape.gradient(one, variables) for one in scaled]
        extra = [None] * len(variables) if added is None else tape.gradient(added, variables)
        del tape
        optimizer.apply_gradients(zip(_combined(trainer, gradients, parts.values, extra), variables, strict=True))
    else:
        warnings.warn("The model does not have any trainable weights.", stacklevel=2)
    trainer.track(parts, x)
    return trainer.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


def _combined(trainer: Any, gradients: list[list[Tensor]], values: Any, extra: list[Tensor]) -> list[Tensor]:
    """What the optimizer is given: the combined gradient of the terms plus that of the added losses, both scaled."""
    scale = trainer.optimizer.scale_loss(tf.ones(()))
    # Sparse gradients (of embeddings) as dense ones: their products are taken.
    dense = [[None if one is None else tf.convert_to_tensor(one) for one in row] for row in gradients]
    if scales(trainer.optimizer):
        dense = [[None if one is None else one / scale for one in row] for row in dense]
    # A nonlinear function of the gradients needs those of the global batch, not of this replica's part.
    reached = [(k, p) for k, row in enumerate(dense) for p, one in enumerate(row) if one is not None]
    for (k, p), one in zip(reached, on_global_batch([dense[k][p] for k, p in reached]), strict=True):
        dense[k][p] = one
    combined = trainer.weighting.combine(dense, on_global_batch(list(values)), trainer.trainable_weights)
    # The optimizer sums over the replicas, each of which has the whole.
    back = scale / replicas()
    return sum_with([None if one is None else one * tf.cast(back, one.dtype) for one in combined], extra)
