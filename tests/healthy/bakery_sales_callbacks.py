# backends: tensorflow, jax, torch
"""Callbacks that change Python attributes, the learning rate and a step counter: nothing that the loss reads."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(22)
rng = np.random.default_rng(22)

x = rng.normal(size=(500, 7)).astype("float32")
y = (3.0 + x[:, :1] - 0.4 * x[:, 2:3] + 0.2 * rng.normal(size=(500, 1))).astype("float32")


def weighted_error(exponent):
    def loss(y_true, y_pred):
        return ops.mean(ops.power(ops.abs(y_true - y_pred) + 1e-3, exponent), axis=-1)

    return loss


class Progress(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.steps = 0
        self.strength = 0.0
        self.best = float("inf")

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        self.strength = min(1.0, self.steps / 20)
        self.model.steps_seen = self.steps

    def on_epoch_end(self, epoch, logs=None):
        self.best = min(self.best, logs["val_loss"])


def halve_late(epoch, lr):
    return lr * 0.5 if epoch > 2 else lr


progress = Progress()
model = keras.Sequential([layers.Input((7,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=weighted_error(1.5))
model.fit(
    x,
    y,
    validation_split=0.2,
    batch_size=50,
    epochs=6,
    callbacks=[progress, keras.callbacks.LearningRateScheduler(halve_late), keras.callbacks.ReduceLROnPlateau(patience=1)],
    verbose=0,
)
print("steps", progress.steps, "best %.3f" % progress.best)
