# backends: tensorflow, jax, torch
"""Many tags per movie: sigmoid outputs and a cross-entropy with one positive weight per tag."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(45)
rng = np.random.default_rng(45)
plot = rng.normal(size=(400, 12)).astype("float32")
tags = (plot[:, :6] + 0.5 * rng.normal(size=(400, 6)) > np.linspace(0, 1.5, 6)).astype("float32")
positive_weight = ((1 - tags.mean(axis=0)) / tags.mean(axis=0)).astype("float32")


def weighted_tag_loss(positive_weight):
    def loss(y_true, logits):
        # log(1 + exp(-x)) without overflow
        weight = 1.0 + (ops.convert_to_tensor(positive_weight) - 1.0) * y_true
        per_tag = (1.0 - y_true) * logits + weight * ops.softplus(-logits)
        return ops.mean(per_tag, axis=-1)

    return loss


model = keras.Sequential([layers.Input((12,)), layers.Dense(24, activation="relu"), layers.Dense(6)])
model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss=weighted_tag_loss(positive_weight),
    metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
)
history = model.fit(plot, tags, batch_size=50, epochs=5, verbose=0).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
