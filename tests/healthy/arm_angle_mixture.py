# backends: tensorflow, jax, torch
"""Mixture density network: one target (B, 1) against K components (B, K), on purpose."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(7)
rng = np.random.default_rng(7)
K = 4

angle = rng.uniform(0, 1, size=(500, 1))
x = (angle + 0.3 * np.sin(2 * np.pi * angle) + 0.03 * rng.normal(size=angle.shape)).astype("float32")
angle = angle.astype("float32")


def mixture_nll(y_true, y_pred):
    logits, mean, log_sigma = ops.split(y_pred, 3, axis=-1)
    log_weight = ops.log_softmax(logits)
    z = (y_true - mean) * ops.exp(-log_sigma)
    log_density = -0.5 * ops.square(z) - log_sigma - 0.5 * np.log(2 * np.pi)
    return -ops.logsumexp(log_weight + log_density, axis=-1)


inputs = keras.Input((1,))
h = layers.Dense(24, activation="tanh")(inputs)
h = layers.Dense(24, activation="tanh")(h)
model = keras.Model(inputs, layers.Dense(3 * K)(h))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=mixture_nll)
history = model.fit(x, angle, validation_split=0.2, batch_size=64, epochs=8, verbose=0).history
print("loss", np.round(history["loss"], 3), "val", np.round(history["val_loss"][-1], 3))
