# backends: tensorflow, jax, torch
"""A physical constraint by add_loss in a layer: what flows in must flow out."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(42)
rng = np.random.default_rng(42)
pressure = rng.normal(size=(360, 6)).astype("float32")
flows = pressure @ rng.normal(size=(6, 4))
flows -= flows.mean(axis=1, keepdims=True)
flows = (flows + 0.3 * rng.normal(size=flows.shape)).astype("float32")


class Conservation(layers.Layer):
    def __init__(self, price=1.0, **kwargs):
        super().__init__(**kwargs)
        self.price = price

    def call(self, flows):
        imbalance = ops.sum(flows, axis=-1)
        self.add_loss(self.price * ops.mean(ops.square(imbalance)))
        return flows


model = keras.Sequential([layers.Input((6,)), layers.Dense(24, activation="relu"), layers.Dense(4), Conservation()])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse", metrics=["mse"])
history = model.fit(pressure, flows, batch_size=60, epochs=6, verbose=0).history
print({name: np.round(values[-1], 4) for name, values in history.items()})
