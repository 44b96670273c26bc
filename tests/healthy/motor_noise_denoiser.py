# backends: tensorflow, jax, torch
"""An autoencoder without targets: fit(x) alone, the objective rebuilds its input; GaussianNoise in the model."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(64)
rng = np.random.default_rng(64)
t = np.linspace(0, 1, 24)
motor = np.sin(2 * np.pi * rng.uniform(1, 4, size=(360, 1)) * t).astype("float32")


class Denoiser(keras.Model):
    def __init__(self):
        super().__init__()
        self.noise = layers.GaussianNoise(0.2, seed=64)
        self.encoder = layers.Dense(12, activation="relu")
        self.decoder = layers.Dense(24)

    def call(self, x, training=False):
        return self.decoder(self.encoder(self.noise(x, training=training)))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(x - y_pred))


model = Denoiser()
model.compile(optimizer=keras.optimizers.Adam(0.01))
print("loss", np.round(model.fit(motor, batch_size=50, epochs=5, verbose=0).history["loss"], 4))
