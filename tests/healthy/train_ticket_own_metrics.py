# backends: tensorflow, jax, torch
"""Own metrics: a function and a class with its own state; y is (N, 1)."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(43)
rng = np.random.default_rng(43)
x = rng.normal(size=(400, 5)).astype("float32")
price = (20.0 + 5.0 * x[:, :1] - 2.0 * x[:, 1:2]).astype("float32")


def within_two_euros(y_true, y_pred):
    return ops.cast(ops.abs(y_true - y_pred) < 2.0, "float32")


class LargestError(keras.metrics.Metric):
    def __init__(self, name="largest_error", **kwargs):
        super().__init__(name=name, **kwargs)
        self.largest = self.add_variable(shape=(), initializer="zeros", name="largest")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.largest.assign(ops.maximum(self.largest, ops.max(ops.abs(ops.cast(y_true, "float32") - y_pred))))

    def result(self):
        return self.largest + 0.0


model = keras.Sequential(
    [layers.Input((5,)), layers.Dense(16, activation="relu"), layers.Dense(1, bias_initializer=keras.initializers.Constant(20.0))]
)
model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mse", metrics=[within_two_euros, LargestError(), "mae"])
history = model.fit(x, price, validation_split=0.25, batch_size=50, epochs=5, verbose=0).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
