# backends: tensorflow, jax, torch
"""Kernel, bias and activity regularizers under plain compile and fit."""

import numpy as np
import keras
from keras import layers, regularizers

keras.utils.set_random_seed(31)
rng = np.random.default_rng(31)
x = rng.normal(size=(300, 20)).astype("float32")
grain = rng.integers(0, 3, 300)
x[np.arange(300), grain] += 2.0

model = keras.Sequential(
    [
        layers.Input((20,)),
        layers.Dense(24, activation="relu", kernel_regularizer=regularizers.L1L2(1e-4, 1e-3), activity_regularizer="l2"),
        layers.Dense(3, bias_regularizer=regularizers.l2(1e-2)),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(0.01), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
)
history = model.fit(x, grain, batch_size=50, epochs=4, verbose=0).history["loss"]
print("loss", np.round(history, 4))
