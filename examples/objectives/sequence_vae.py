"""A variational autoencoder of short melodies, its KL term turned on step by step (linear, or in cycles).

    python sequence_vae.py            # linear
    python sequence_vae.py cyclical   # Fu et al. 2019, https://arxiv.org/abs/1903.10145

What people try: a weight that is a Python float and changed by a callback. TensorFlow and JAX freeze it when the step
is compiled. Here the weight is a schedule of the step, and `kl_weight` is among the logs.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

import lossproof as lp

NOTES, LENGTH, LATENT = 12, 10, 4
STEPS = 160


def make_data(n=512):
    """Melodies that rise or fall from some note at some pace: shape (n, LENGTH), integers below NOTES."""
    rng = np.random.default_rng(5)
    start, pace = rng.integers(0, NOTES, (n, 1)), rng.integers(-2, 3, (n, 1))
    return ((start + pace * np.arange(LENGTH)) % NOTES).astype("int32")


class Sampling(layers.Layer):
    """z = mean + exp(log_var / 2) * noise."""

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.noise = keras.random.SeedGenerator(seed)

    def call(self, mean, log_var):
        return mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.noise)


def build_model():
    notes = keras.Input((LENGTH,), dtype="int32", name="notes")
    h = layers.Embedding(NOTES, 8)(notes)
    h = layers.GRU(24)(h)
    mean, log_var = layers.Dense(LATENT, name="z_mean")(h), layers.Dense(LATENT, name="z_log_var")(h)
    z = Sampling(seed=7, name="z")(mean, log_var)
    h = layers.RepeatVector(LENGTH)(z)
    h = layers.GRU(24, return_sequences=True)(h)
    melody = layers.Dense(NOTES, name="melody")(h)
    return keras.Model(notes, melody)


def reconstruction(y_true, y_pred):
    """Negative log-likelihood of a melody, summed over its notes: shape (batch,)."""
    return ops.sum(keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True), axis=-1)


def kl(z_mean, z_log_var):
    """KL divergence of N(mean, exp(log_var)) from N(0, 1), summed over the latent axes: shape (batch,)."""
    return -0.5 * ops.sum(1.0 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var), axis=-1)


def make_objective(annealing="linear"):
    schedules = {
        "linear": lp.schedules.Linear(0.0, 1.0, steps=STEPS),
        "cyclical": lp.schedules.Cyclical(0.0, 1.0, period=STEPS // 4, ratio=0.5),
    }
    # z_mean and z_log_var are bound by their names: the layers are called so.
    return lp.Objective([lp.Term(reconstruction), lp.Term(kl, weight=schedules[annealing])])


def main(annealing="linear"):
    keras.utils.set_random_seed(2)
    melodies = make_data()
    trainer = lp.Trainer(build_model(), make_objective(annealing))
    trainer.compile(keras.optimizers.Adam(0.01))
    history = trainer.fit(melodies, melodies, epochs=STEPS // 16, batch_size=32, verbose=0).history
    for epoch in range(0, STEPS // 16, 2):
        print(f"epoch {epoch + 1:2d}", *(f"{name} {values[epoch]:.3f}" for name, values in history.items()), sep="  ")


if __name__ == "__main__":
    main(*sys.argv[1:])
