# backends: tensorflow, jax, torch
"""The loss is a method; its object holds Python floats that never change."""

import numpy as np
import keras
from keras import layers, ops


class LoadEstimator:
    def __init__(self, delta=0.7, asymmetry=2.0):
        self.delta = delta
        self.asymmetry = asymmetry  # too low is worse than too high
        self.net = keras.Sequential(
            [layers.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(8, activation="relu"), layers.Dense(1)]
        )
        self.net.compile(optimizer=keras.optimizers.Adam(0.01), loss=self.cost, metrics=["mae"])

    def cost(self, y_true, y_pred):
        error = y_pred - y_true
        size = ops.abs(error)
        huber = ops.where(size <= self.delta, 0.5 * ops.square(error), self.delta * (size - 0.5 * self.delta))
        return ops.mean(ops.where(error < 0, self.asymmetry * huber, huber), axis=-1)


keras.utils.set_random_seed(16)
rng = np.random.default_rng(16)
strain = rng.normal(size=(500, 6)).astype("float32")
load = strain[:, 0] * strain[:, 1] + strain[:, 2] + 0.1 * rng.standard_t(3, size=500)

estimator = LoadEstimator()
history = estimator.net.fit(strain, load, batch_size=48, epochs=6, verbose=0).history
print({name: np.round(values, 3) for name, values in history.items()})
