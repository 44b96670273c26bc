"""The gradient of the objective by the chain rule through the predictions' values alone.

Losses of TensorFlow look at how the predictions were made: they find the logits behind a softmax or sigmoid and use a
fused operation on them. Its gradient is right under assumptions that the user's targets may break. Here the same
objective is differentiated in two steps, first with respect to the predictions as plain numbers, then through the
model, so that nothing can be recovered.
"""

from __future__ import annotations

import keras
import numpy as np

from lossproof.lab.backends.base import Tensor
from lossproof.lab.lab import Lab
from lossproof.lab.model import Forward


def chain_gradients(lab: Lab) -> list[np.ndarray | None]:
    """The gradient of the total for each trainable weight, by the chain rule through plain predictions."""
    model, batch, backend = lab.model, lab.batch, lab.backend
    forward = lab.forward
    leaves = [backend.tensor(backend.numpy(leaf)) for leaf in keras.tree.flatten(forward.y_pred)]

    def of_predictions(*tensors: Tensor) -> Tensor:
        y_pred = keras.tree.pack_sequence_as(forward.y_pred, list(tensors))
        with model.scope():
            fresh = model.forward(batch.x)
            return model.compute_loss(batch, Forward(y_pred, fresh.losses))

    _, cotangents = backend.gradient(of_predictions, leaves)
    fixed = [None if c is None else backend.tensor(backend.numpy(c)) for c in cotangents]
    constants = keras.tree.pack_sequence_as(forward.y_pred, leaves)

    def of_weights(*weights: Tensor) -> Tensor:
        with model.scope(list(weights)):
            fresh = model.forward(batch.x)
            direct = model.compute_loss(batch, Forward(constants, fresh.losses))
            through = [
                keras.ops.sum(keras.ops.cast(p, c.dtype) * c)
                for p, c in zip(keras.tree.flatten(fresh.y_pred), fixed, strict=True)
                if c is not None
            ]
            return sum(through, start=direct)

    _, gradients = backend.gradient(of_weights, model.start)
    return [None if gradient is None else lab.number(gradient) for gradient in gradients]
