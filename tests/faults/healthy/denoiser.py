# targets: real x 4
"""Noise is drawn in the objective, from a seed generator of the model."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = (rng.normal(size=(48, 2)) @ rng.normal(size=(2, 4))).astype("float32")


class Denoiser(keras.Model):
    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(3)
        self.hidden = layers.Dense(6, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.01))
        self.out = layers.Dense(4)

    def call(self, inputs):
        return self.out(self.hidden(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        noisy = x + keras.random.normal(ops.shape(x), seed=self.seeds)
        return ops.mean(ops.square(self(noisy) - y)) + sum(self.losses)


model = Denoiser()
model.compile(optimizer=keras.optimizers.SGD(0.05))
model.fit(x, x, batch_size=12, epochs=2, verbose=0)
