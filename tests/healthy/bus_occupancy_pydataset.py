# backends: tensorflow, jax, torch
"""A PyDataset that yields dicts of inputs, targets and weights per sample; the last batch is short."""

import math

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(63)


class Rides(keras.utils.PyDataset):
    def __init__(self, n, batch_size, seed, **kwargs):
        super().__init__(**kwargs)
        rng = np.random.default_rng(seed)
        self.stop = rng.integers(0, 12, size=(n, 1))
        self.weather = rng.normal(size=(n, 3)).astype("float32")
        self.people = (10 + self.stop + 3 * self.weather[:, :1] + rng.normal(size=(n, 1))).astype("float32")
        self.weight = np.where(self.stop[:, 0] < 6, 1.0, 0.25).astype("float32")
        self.batch_size = batch_size

    def __len__(self):
        return math.ceil(len(self.stop) / self.batch_size)

    def __getitem__(self, i):
        rows = slice(i * self.batch_size, (i + 1) * self.batch_size)
        return {"stop": self.stop[rows], "weather": self.weather[rows]}, self.people[rows], self.weight[rows]


def root_error(y_true, y_pred):
    return ops.mean(ops.sqrt(ops.abs(y_true - y_pred) + 0.01), axis=-1)


stop = keras.Input((1,), dtype="int32", name="stop")
weather = keras.Input((3,), name="weather")
h = layers.Concatenate()([layers.Flatten()(layers.Embedding(12, 4)(stop)), weather])
h = layers.Dense(24, activation="relu")(h)
model = keras.Model({"stop": stop, "weather": weather}, layers.Dense(1)(h))
model.compile(optimizer=keras.optimizers.Adam(0.02), loss=root_error, weighted_metrics=["mae"])
history = model.fit(Rides(310, 48, 0), validation_data=Rides(90, 48, 1), epochs=4, verbose=0).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
