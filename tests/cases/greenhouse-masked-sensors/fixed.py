import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(40)
rng = np.random.default_rng(40)

# 16 sensors in a greenhouse, driven by three common causes
SENSORS = 16
causes = rng.normal(size=(900, 3))
readings = (causes @ rng.normal(size=(3, SENSORS)) + 0.1 * rng.normal(size=(900, SENSORS))).astype("float32")
readings /= readings.std(axis=0)


class MaskedAutoencoder(keras.Model):
    """Hides a quarter of the sensors in each step and reconstructs them from the rest."""

    def __init__(self, mask_ratio=0.25, seed=40):
        super().__init__()
        self.mask_ratio = mask_ratio
        self.seed = keras.random.SeedGenerator(seed)
        self.encoder = keras.Sequential([layers.Dense(48, activation="relu"), layers.Dense(12)])
        self.decoder = keras.Sequential([layers.Dense(48, activation="relu"), layers.Dense(SENSORS)])

    def call(self, x):
        return self.decoder(self.encoder(x))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        u = keras.random.uniform((1, SENSORS), seed=self.seed)
        hidden = ops.cast(u < self.mask_ratio, x.dtype)
        recon = self(x * (1.0 - hidden), training=training)
        error = ops.sum(hidden * ops.square(recon - x), axis=-1)
        return ops.mean(error) / ops.maximum(ops.sum(hidden), 1.0)


model = MaskedAutoencoder()
model.compile(optimizer=keras.optimizers.Adam(0.003))
history = model.fit(readings, readings, batch_size=30, epochs=25, verbose=0)
print("loss", round(history.history["loss"][-1], 4))

errors = []
for s in range(SENSORS):
    broken = readings.copy()
    broken[:, s] = 0.0
    recon = model.predict(broken, verbose=0)
    errors.append(float(np.mean((recon[:, s] - readings[:, s]) ** 2)))
print("error when one sensor fails", np.round(errors, 2))
print("mean", round(float(np.mean(errors)), 3))
