import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(71)
rng = np.random.default_rng(71)

LENGTH = 64


def heartbeats(count):
    t = np.linspace(0, 1, LENGTH)
    shift = rng.uniform(-0.08, 0.08, size=(count, 1))
    height = rng.uniform(0.8, 1.3, size=(count, 1))
    r_peak = height * np.exp(-(((t - 0.4 - shift) / 0.03) ** 2))
    t_wave = 0.35 * height * np.exp(-(((t - 0.7 - shift) / 0.08) ** 2))
    return (r_peak + t_wave).astype("float32")


class MuscleNoise(layers.Layer):
    """Adds the noise of a moving patient, in training only."""

    def __init__(self, stddev, seed=1234, **kwargs):
        super().__init__(**kwargs)
        self.stddev = stddev
        self.seed = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        if not training:
            return inputs
        noise = keras.random.normal(ops.shape(inputs), stddev=self.stddev, seed=self.seed)
        return inputs + noise


clean = heartbeats(640)
denoiser = keras.Sequential(
    [
        layers.Input((LENGTH,)),
        MuscleNoise(0.5),
        layers.Dense(96, activation="relu"),
        layers.Dense(96, activation="relu"),
        layers.Dense(LENGTH),
    ]
)
denoiser.compile(optimizer=keras.optimizers.Adam(2e-3), loss="mse")
history = denoiser.fit(clean, clean, batch_size=16, epochs=25, verbose=0)
print("loss in training", np.round(history.history["loss"][::6], 4))

test = heartbeats(400)
noisy = test + rng.normal(scale=0.5, size=test.shape).astype("float32")
print("noisy recordings, mse after denoising %.4f" % np.mean((denoiser.predict(noisy, verbose=0) - test) ** 2))
print("clean recordings, mse after denoising %.4f" % np.mean((denoiser.predict(test, verbose=0) - test) ** 2))
