# backends: tensorflow
"""A VAE with its own train_step and test_step; both trackers are listed, and the losses of the layers are added."""

import numpy as np
import tensorflow as tf
import keras
from keras import layers, regularizers

keras.utils.set_random_seed(21)
rng = np.random.default_rng(21)
taste = (rng.normal(size=(400, 3)) @ rng.normal(size=(3, 10)) + 0.2 * rng.normal(size=(400, 10))).astype("float32")


class VAE(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = keras.Sequential(
            [layers.Dense(16, activation="relu", kernel_regularizer=regularizers.l2(1e-3)), layers.Dense(4)]
        )
        self.decoder = keras.Sequential([layers.Dense(16, activation="relu"), layers.Dense(10)])
        self.seed_generator = keras.random.SeedGenerator(21)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.kl_tracker = keras.metrics.Mean(name="kl")

    @property
    def metrics(self):
        return [self.loss_tracker, self.kl_tracker]

    def call(self, x):
        return self.decoder(self.encoder(x)[:, :2])

    def objective(self, x):
        mean, log_var = tf.split(self.encoder(x), 2, axis=-1)
        noise = keras.random.normal(tf.shape(mean), seed=self.seed_generator)
        rebuilt = self.decoder(mean + tf.exp(0.5 * log_var) * noise)
        kl = tf.reduce_mean(-0.5 * tf.reduce_sum(1.0 + log_var - mean**2 - tf.exp(log_var), axis=-1))
        error = tf.reduce_mean(tf.reduce_sum(tf.square(x - rebuilt), axis=-1))
        return error + kl + tf.add_n(self.losses), kl

    def track(self, loss, kl):
        self.loss_tracker.update_state(loss)
        self.kl_tracker.update_state(kl)
        return {m.name: m.result() for m in self.metrics}

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss, kl = self.objective(data)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        return self.track(loss, kl)

    def test_step(self, data):
        return self.track(*self.objective(data))


vae = VAE()
vae(taste[:1])
vae.compile(optimizer=keras.optimizers.Adam(0.01))
vae.fit(taste[:320], batch_size=64, epochs=6, verbose=0)
print(vae.evaluate(taste[320:], verbose=0, return_dict=True))
