# backends: tensorflow, jax, torch
"""KL annealing done right: the weight is a variable of the layer, a callback assigns to it at the start of an epoch."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(20)
rng = np.random.default_rng(20)
shape = rng.normal(size=(480, 2))
light = (np.tanh(shape @ rng.normal(size=(2, 12))) + 0.1 * rng.normal(size=(480, 12))).astype("float32")


class Sampling(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.kl_weight = self.add_weight(shape=(), initializer="zeros", trainable=False, name="kl_weight")
        self.seed_generator = keras.random.SeedGenerator(20)

    def call(self, inputs):
        mean, log_var = inputs
        kl = -0.5 * ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=-1)
        self.add_loss(self.kl_weight * ops.mean(kl))
        return mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.seed_generator)


class WarmUp(keras.callbacks.Callback):
    def __init__(self, layer, top, epochs):
        super().__init__()
        self.layer, self.top, self.epochs = layer, top, epochs

    def on_epoch_begin(self, epoch, logs=None):
        self.layer.kl_weight.assign(self.top * min(1.0, epoch / self.epochs))


inputs = keras.Input((12,))
h = layers.Dense(24, activation="relu")(inputs)
sampling = Sampling(name="sampling")
z = sampling([layers.Dense(2, name="mean")(h), layers.Dense(2, name="log_var")(h)])
outputs = layers.Dense(12)(layers.Dense(24, activation="relu")(z))
vae = keras.Model(inputs, outputs)
vae.compile(optimizer=keras.optimizers.Adam(5e-3), loss="mse")
history = vae.fit(light, light, batch_size=60, epochs=8, callbacks=[WarmUp(sampling, 0.05, 4)], verbose=0).history["loss"]
print("loss", np.round(history, 4))
