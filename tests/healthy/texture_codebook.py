# backends: tensorflow, jax, torch
"""VQ-VAE: straight-through estimator, stop_gradient on either side, two terms by add_loss."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(9)
rng = np.random.default_rng(9)

kinds = rng.normal(size=(6, 18))
patches = (kinds[rng.integers(0, 6, 480)] + 0.2 * rng.normal(size=(480, 18))).astype("float32")


class Codebook(layers.Layer):
    def __init__(self, n_codes, width, beta=0.25, **kwargs):
        super().__init__(**kwargs)
        self.n_codes, self.width, self.beta = n_codes, width, beta

    def build(self, input_shape):
        self.codes = self.add_weight(shape=(self.n_codes, self.width), initializer=keras.initializers.RandomNormal(stddev=0.5), name="codes")

    def call(self, z):
        distance = ops.sum(ops.square(z[:, None, :] - self.codes[None, :, :]), axis=-1)
        chosen = ops.take(self.codes, ops.argmin(distance, axis=-1), axis=0)
        self.add_loss(ops.mean(ops.square(ops.stop_gradient(z) - chosen)))
        self.add_loss(self.beta * ops.mean(ops.square(z - ops.stop_gradient(chosen))))
        return z + ops.stop_gradient(chosen - z)


inputs = keras.Input((18,))
z = layers.Dense(4, activation="tanh")(layers.Dense(24, activation="relu")(inputs))
z = Codebook(8, 4)(z)
model = keras.Model(inputs, layers.Dense(18)(layers.Dense(24, activation="relu")(z)))
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse")
history = model.fit(patches, patches, batch_size=60, epochs=8, verbose=0).history["loss"]
print("loss", np.round(history, 3))
