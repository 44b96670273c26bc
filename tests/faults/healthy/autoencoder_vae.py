# targets: none
"""A variational autoencoder with its own compute_loss, and a regularizer."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = (rng.normal(size=(47, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(47, 6))).astype("float32")


class VAE(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = layers.Dense(8, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.01))
        self.to_mean = layers.Dense(2)
        self.to_log_var = layers.Dense(2)
        self.decoder = layers.Dense(6)
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, inputs):
        hidden = self.encoder(inputs)
        mean, log_var = self.to_mean(hidden), self.to_log_var(hidden)
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds)
        return {"out": self.decoder(mean + ops.exp(0.5 * log_var) * noise), "mean": mean, "log_var": log_var}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        mean, log_var = y_pred["mean"], y_pred["log_var"]
        rebuilt = ops.mean(ops.sum(ops.square(x - y_pred["out"]), axis=-1))
        kl = -0.5 * ops.mean(ops.sum(1.0 + log_var - ops.square(mean) - ops.exp(log_var), axis=-1))
        return rebuilt + 0.1 * kl + sum(self.losses)


model = VAE()
model.compile(optimizer=keras.optimizers.SGD(0.02))
model.fit(x, batch_size=12, verbose=0)
