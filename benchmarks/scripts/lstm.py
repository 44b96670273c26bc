"""A recurrent network on sequences."""

from __future__ import annotations

import keras
import numpy as np

rng = np.random.default_rng(0)
x = rng.normal(size=(1024, 50, 16)).astype("float32")
y = np.cumsum(x[..., :1], axis=1).astype("float32")


def pinball(y_true, y_pred):
    gap = y_true - y_pred
    return keras.ops.mean(keras.ops.maximum(0.9 * gap, -0.1 * gap), axis=-1)


model = keras.Sequential(
    [
        keras.Input((50, 16)),
        keras.layers.LSTM(64, return_sequences=True),
        keras.layers.Dropout(0.2),
        keras.layers.LSTM(64, return_sequences=True),
        keras.layers.Dense(1),
    ]
)
model.compile(optimizer="adam", loss=pinball)
model.fit(x, y, batch_size=32, epochs=5, verbose=0)
