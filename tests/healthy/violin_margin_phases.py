# backends: tensorflow, jax, torch
"""A margin that grows from phase to phase: a new loss object is compiled for each of three phases."""

import numpy as np
import keras
from keras import layers, losses, ops

keras.utils.set_random_seed(66)
rng = np.random.default_rng(66)
side = np.where(rng.random(320) < 0.5, 1.0, -1.0).astype("float32")[:, None]
sound = (rng.normal(size=(320, 10)) + 0.6 * side).astype("float32")


class SquaredHinge(losses.Loss):
    def __init__(self, margin, name="squared_hinge"):
        super().__init__(name=name)
        self.margin = margin

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(ops.maximum(self.margin - y_true * y_pred, 0.0)), axis=-1)


model = keras.Sequential([layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
optimizer = keras.optimizers.Adam(0.01)
for margin in (0.2, 0.6, 1.0):
    model.compile(optimizer=optimizer, loss=SquaredHinge(margin))
    history = model.fit(sound, side, batch_size=40, epochs=2, verbose=0).history["loss"]
    print("margin", margin, "loss", np.round(history, 4))
