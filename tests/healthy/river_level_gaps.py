# backends: tensorflow, jax, torch
"""Masked squared error with a safe division; some rows have no valid hour at all."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(18)
rng = np.random.default_rng(18)

rain = rng.gamma(1.0, 1.0, size=(360, 12, 2)).astype("float32")
level = np.cumsum(rain[..., 0], axis=1) * 0.2 - 0.1 * rain[..., 1]
valid = rng.random(level.shape) < 0.7
valid[rng.random(360) < 0.15] = False
level = np.where(valid, level, -999.0).astype("float32")


def masked_mse(y_true, y_pred):
    valid = ops.cast(y_true > -900.0, y_pred.dtype)
    squared = valid * ops.square(ops.where(y_true > -900.0, y_true, 0.0) - y_pred)
    return ops.sum(squared, axis=-1) / ops.maximum(ops.sum(valid, axis=-1), 1.0)


model = keras.Sequential(
    [layers.Input((12, 2)), layers.Conv1D(8, 3, padding="causal", activation="relu"), layers.Flatten(), layers.Dense(12)]
)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=masked_mse)
history = model.fit(rain, level, validation_split=0.25, batch_size=40, epochs=5, verbose=0).history
print({name: np.round(values, 4) for name, values in history.items()})
