import numpy as np
import keras
import tensorflow as tf
from keras import layers, ops

keras.utils.set_random_seed(44)
rng = np.random.default_rng(44)

# one day of temperatures, hour by hour
hours = np.arange(24) / 24
phase = rng.normal(0.6, 0.03, size=(600, 1))
x = np.cos(2 * np.pi * (hours[None, :] - phase)) * rng.uniform(0.5, 1.5, size=(600, 1))
x = (x + 0.05 * rng.normal(size=x.shape)).astype("float32")


class DayVAE(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(4)])
        self.decoder = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(24)])
        self.seed = keras.random.SeedGenerator(2)
        self.total_loss = keras.metrics.Mean(name="loss")

    def call(self, inputs):
        z_mean, z_log_var = ops.split(self.encoder(inputs), 2, axis=-1)
        return self.decode(z_mean, z_log_var), z_mean, z_log_var

    def decode(self, z_mean, z_log_var):
        z = z_mean + ops.exp(0.5 * z_log_var) * keras.random.normal(ops.shape(z_mean), seed=self.seed)
        return self.decoder(z)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            reconstruction, z_mean, z_log_var = self(x, training=True)
            reconstruction_loss = self.compute_loss(y=y, y_pred=reconstruction)
            kl = -0.5 * ops.sum(1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var), axis=-1)
            total_loss = reconstruction_loss + 0.01 * ops.mean(kl)
        gradients = tape.gradient(total_loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        self.total_loss.update_state(total_loss)
        return {"loss": self.total_loss.result()}

    @property
    def metrics(self):
        return [self.total_loss]


vae = DayVAE()
vae(x[:2])
vae.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse")
vae.fit(x, x, batch_size=32, epochs=5, verbose=2)
reconstruction = vae(x)[0].numpy()
print("squared error by hand: %.4f" % np.mean((reconstruction - x) ** 2))
