# backends: tensorflow
"""A GAN with its own train_step: generator and discriminator in turn, each with its optimizer."""

import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(26)
rng = np.random.default_rng(26)
bags = (rng.normal(size=(384, 2)) * [1.0, 0.3] + [2.0, -1.0]).astype("float32")


class GAN(keras.Model):
    def __init__(self, latent=4):
        super().__init__()
        self.latent = latent
        self.generator = keras.Sequential([layers.Input((latent,)), layers.Dense(16, activation="relu"), layers.Dense(2)])
        self.discriminator = keras.Sequential([layers.Input((2,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
        self.seed_generator = keras.random.SeedGenerator(26)
        self.d_tracker = keras.metrics.Mean(name="d_loss")
        self.g_tracker = keras.metrics.Mean(name="g_loss")

    @property
    def metrics(self):
        return [self.d_tracker, self.g_tracker]

    def call(self, noise):
        return self.generator(noise)

    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
        self.loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)

    def train_step(self, real):
        n = tf.shape(real)[0]
        noise = keras.random.normal((n, self.latent), seed=self.seed_generator)
        with tf.GradientTape() as tape:
            logits = self.discriminator(tf.concat([real, self.generator(noise)], axis=0))
            d_loss = self.loss_fn(tf.concat([tf.ones((n, 1)), tf.zeros((n, 1))], axis=0), logits)
        weights = self.discriminator.trainable_weights
        self.d_optimizer.apply_gradients(zip(tape.gradient(d_loss, weights), weights))

        noise = keras.random.normal((n, self.latent), seed=self.seed_generator)
        with tf.GradientTape() as tape:
            g_loss = self.loss_fn(tf.ones((n, 1)), self.discriminator(self.generator(noise)))
        weights = self.generator.trainable_weights
        self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, weights), weights))

        self.d_tracker.update_state(d_loss)
        self.g_tracker.update_state(g_loss)
        return {m.name: m.result() for m in self.metrics}


gan = GAN()
gan.compile(d_optimizer=keras.optimizers.Adam(5e-3), g_optimizer=keras.optimizers.Adam(5e-3))
history = gan.fit(bags, batch_size=64, epochs=6, verbose=0).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
