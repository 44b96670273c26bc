import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(65)
rng = np.random.default_rng(65)


class AdditiveNoise(layers.Layer):
    """Noise of a random strength, new for each batch."""

    def __init__(self, power=1.0, **kwargs):
        super().__init__(**kwargs)
        self.power = power
        self.seed = keras.random.SeedGenerator(7)

    def call(self, inputs, training=False):
        if not training:
            return inputs
        strength = keras.random.uniform((), 0.0, self.power, seed=self.seed)
        return inputs + strength * keras.random.normal(ops.shape(inputs), seed=self.seed)


# bird or no bird from 20 mel bands
n = 1024
y = (rng.random(n) < 0.5).astype("float32")[:, None]
x = (rng.normal(size=(n, 20)) + 0.8 * y * (np.arange(20) > 12)).astype("float32")

model = keras.Sequential(
    [
        layers.Input((20,)),
        AdditiveNoise(4.0),
        layers.Dense(32, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="binary_crossentropy")
model.fit(x, y, batch_size=32, epochs=5, verbose=0)
print("batches trained on:", 5 * 32)
