# backends: tensorflow, jax, torch
"""Focal loss with clipped probabilities, class weights and validation data."""

import functools

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(14)
rng = np.random.default_rng(14)

x = rng.normal(size=(700, 8)).astype("float32")
y = (rng.random(700) < 1 / (1 + np.exp(3.0 - 1.5 * x[:, 0] + x[:, 3]))).astype("float32")


def clipped(loss):
    @functools.wraps(loss)
    def inner(y_true, y_pred):
        return loss(y_true, ops.clip(y_pred, 1e-6, 1.0 - 1e-6))

    return inner


@clipped
def focal(y_true, y_pred):
    right = y_true * y_pred + (1.0 - y_true) * (1.0 - y_pred)
    return ops.mean(-ops.square(1.0 - right) * ops.log(right), axis=-1)


model = keras.Sequential(
    [layers.Input((8,)), layers.Dense(16, activation="relu"), layers.Dropout(0.2), layers.Dense(1, activation="sigmoid")]
)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=focal, metrics=[keras.metrics.AUC(name="auc")])
history = model.fit(
    x[:550], y[:550], validation_data=(x[550:], y[550:]), class_weight={0: 1.0, 1: 5.0}, batch_size=64, epochs=5, verbose=0
).history
print({name: np.round(values[-1], 4) for name, values in history.items()})
