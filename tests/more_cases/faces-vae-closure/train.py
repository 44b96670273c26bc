import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(54)
rng = np.random.default_rng(54)
faces = (rng.random((256, 25)) < 0.3 + 0.4 * (rng.random((256, 1)) < 0.5)).astype("float32")


class Sampling(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(54)

    def call(self, inputs):
        mean, log_var = inputs
        return mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.seed_generator)


def build_vae(beta):
    inputs = keras.Input((25,), name="pixels")
    h = layers.Dense(32, activation="relu")(inputs)
    z_mean = layers.Dense(3, name="z_mean")(h)
    z_log_var = layers.Dense(3, name="z_log_var")(h)
    z = Sampling()([z_mean, z_log_var])
    outputs = layers.Dense(25, activation="sigmoid")(layers.Dense(32, activation="relu")(z))

    def vae_loss(y_true, y_pred):
        reconstruction = 25 * keras.losses.binary_crossentropy(y_true, y_pred)
        kl = -0.5 * ops.sum(1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var), axis=-1)
        return reconstruction + beta * kl

    vae = keras.Model(inputs, outputs)
    vae.compile(optimizer=keras.optimizers.Adam(5e-3), loss=vae_loss)
    return vae


vae = build_vae(beta=1.0)
vae.fit(faces, faces, batch_size=32, epochs=3, verbose=2)
