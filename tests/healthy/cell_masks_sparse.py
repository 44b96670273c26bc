# backends: tensorflow, jax, torch
"""Semantic segmentation: uint8 images, sparse labels (N, H, W) per pixel, logits (N, H, W, 3)."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(46)
rng = np.random.default_rng(46)
labels = rng.integers(0, 3, size=(96, 4, 4)).repeat(3, axis=1).repeat(3, axis=2)
images = np.clip(60 + 70 * labels + rng.normal(0, 25, labels.shape), 0, 255).astype("uint8")[..., None]

model = keras.Sequential(
    [
        layers.Input((12, 12, 1)),
        layers.Rescaling(1 / 127.5, offset=-1),
        layers.Conv2D(12, 3, padding="same", activation="relu"),
        layers.Conv2D(3, 1),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(0.02),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["sparse_categorical_accuracy"],
)
history = model.fit(images, labels, batch_size=24, epochs=4, verbose=0).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
