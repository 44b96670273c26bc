# backends: tensorflow, jax, torch
"""Self-supervision with a slowly moving copy of the encoder: frozen weights inside the model, moved by a callback."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(69)
rng = np.random.default_rng(69)
leaf = rng.normal(size=(5, 12))[rng.integers(0, 5, 320)]
first = (leaf + 0.3 * rng.normal(size=leaf.shape)).astype("float32")
second = (leaf + 0.3 * rng.normal(size=leaf.shape)).astype("float32")


def encoder():
    return keras.Sequential([layers.Input((12,)), layers.Dense(24, activation="relu"), layers.Dense(6)])


class Siamese(keras.Model):
    def __init__(self):
        super().__init__()
        self.online, self.slow = encoder(), encoder()
        self.slow.trainable = False
        self.slow.set_weights(self.online.get_weights())
        self.predictor = layers.Dense(6)

    def call(self, views):
        a, b = views
        return self.predictor(self.online(a)), ops.stop_gradient(self.slow(b))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        guess, goal = (ops.normalize(v, axis=-1) for v in y_pred)
        return ops.mean(2.0 - 2.0 * ops.sum(guess * goal, axis=-1))


class MoveSlowly(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        pairs = zip(self.model.slow.get_weights(), self.model.online.get_weights())
        self.model.slow.set_weights([0.9 * old + 0.1 * new for old, new in pairs])


model = Siamese()
model.compile(optimizer=keras.optimizers.Adam(0.01))
history = model.fit((first, second), batch_size=40, epochs=5, callbacks=[MoveSlowly()], verbose=0).history["loss"]
print("loss", np.round(history, 4))
