# backends: tensorflow, jax, torch
"""A subclassed model with a dict of outputs, a dict of targets, losses, weights and metrics by name."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(35)
rng = np.random.default_rng(35)
x = rng.normal(size=(400, 9)).astype("float32")
targets = {
    "weight": (6.0 + x[:, 0] + 0.1 * rng.normal(size=400)).astype("float32"),
    "age": (3.0 - x[:, 1]).astype("float64")[:, None],
    "breed": rng.integers(0, 3, 400),
}
x[np.arange(400), 6 + targets["breed"]] += 2.0


class CowModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.trunk = layers.Dense(24, activation="relu")
        self.heads = {"weight": layers.Dense(1), "age": layers.Dense(1), "breed": layers.Dense(3, activation="softmax")}

    def call(self, x):
        h = self.trunk(x)
        return {name: head(h) for name, head in self.heads.items()}


model = CowModel()
model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss={"weight": "mse", "age": keras.losses.Huber(), "breed": "sparse_categorical_crossentropy"},
    loss_weights={"weight": 1.0, "age": 0.5, "breed": 2.0},
    metrics={"breed": ["accuracy"], "weight": [keras.metrics.RootMeanSquaredError(name="rmse")]},
)
history = model.fit(x, targets, batch_size=50, epochs=5, verbose=0).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
