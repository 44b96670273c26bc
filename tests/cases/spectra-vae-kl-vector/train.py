import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(21)
rng = np.random.default_rng(21)

# infrared spectra: mixtures of three absorption bands
grid = np.linspace(0, 1, 48)
bands = np.stack([np.exp(-((grid - c) ** 2) / 0.004) for c in (0.2, 0.5, 0.8)])
x = (rng.uniform(0.2, 1.0, size=(768, 3)) @ bands + 0.03 * rng.normal(size=(768, 48))).astype("float32")


class SpectrumVAE(keras.Model):
    def __init__(self, latent_dim=4, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(3)
        self.hidden = layers.Dense(32, activation="relu")
        self.z_mean = layers.Dense(latent_dim)
        self.z_log_var = layers.Dense(latent_dim)
        self.decoder = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(48)])

    def call(self, inputs):
        h = self.hidden(inputs)
        z_mean, z_log_var = self.z_mean(h), self.z_log_var(h)
        kl_loss = -0.5 * ops.mean(1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var), axis=1)
        self.add_loss(0.001 * kl_loss)
        noise = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
        return self.decoder(z_mean + ops.exp(0.5 * z_log_var) * noise)


vae = SpectrumVAE()
vae.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse")
vae.fit(x, x, batch_size=64, epochs=1, verbose=0)
for size in (16, 64, 256):
    print("loss in batches of", size, round(vae.evaluate(x, x, batch_size=size, verbose=0), 4))
vae.fit(x, x, batch_size=64, epochs=24, verbose=0)
error = np.mean((vae.predict(x, verbose=0) - x) ** 2)
print("reconstruction error", round(float(error), 4), "variance of the spectra", round(float(x.var(axis=0).mean()), 4))
