# backends: tensorflow, jax, torch
"""Three quantiles at once: one price (B, 1) against three outputs (B, 3), on purpose."""

import numpy as np
import keras
from keras import layers, losses, ops

keras.utils.set_random_seed(8)
rng = np.random.default_rng(8)

load = rng.uniform(-1, 1, size=(600, 6)).astype("float32")
price = (2.0 * load[:, :1] + np.exp(load[:, 1:2]) * rng.normal(size=(600, 1))).astype("float32")


class Pinball(losses.Loss):
    def __init__(self, quantiles, name="pinball"):
        super().__init__(name=name)
        self.quantiles = tuple(quantiles)

    def call(self, y_true, y_pred):
        q = ops.convert_to_tensor(self.quantiles, dtype=y_pred.dtype)
        error = y_true - y_pred
        return ops.sum(ops.maximum(q * error, (q - 1.0) * error), axis=-1)

    def get_config(self):
        return {"name": self.name, "quantiles": self.quantiles}


model = keras.Sequential([layers.Input((6,)), layers.Dense(24, activation="relu"), layers.Dense(3)])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=Pinball((0.1, 0.5, 0.9)))
model.fit(load, price, batch_size=50, epochs=10, verbose=0)
found = model.predict(load, verbose=0)
print("share below each quantile", np.round((price < found).mean(axis=0), 2))
