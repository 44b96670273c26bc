import functools

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(24)
rng = np.random.default_rng(24)

# weekly demand of spare parts: some weeks see none
history8 = rng.poisson(rng.gamma(2.0, 3.0, size=(480, 1)), size=(480, 9)).astype("float32")
past, demand = history8[:, :8], history8[:, 8:]


class Weeks(keras.utils.PyDataset):
    def __init__(self, x, y, batch_size=48, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.batch_size = x, y, batch_size
        self.order = np.random.default_rng(0).permutation(len(x))

    def __len__(self):
        return len(self.x) // self.batch_size

    def __getitem__(self, i):
        rows = self.order[i * self.batch_size : (i + 1) * self.batch_size]
        return self.x[rows], self.y[rows]


def in_percent(error):
    @functools.wraps(error)
    def scaled(y_true, y_pred):
        return 100.0 * error(y_true, y_pred)

    return scaled


@in_percent
def relative_error(y_true, y_pred):
    return ops.mean(ops.abs((y_true - y_pred) / ops.maximum(y_true, 1.0)), axis=-1)


inputs = keras.Input((8,))
h = layers.Normalization(mean=6.0, variance=25.0)(inputs)
h = layers.Dense(16, activation="relu")(h)
model = keras.Model(inputs, layers.Dense(1, activation="softplus")(h))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=relative_error, metrics=["mae"])
model.fit(Weeks(past, demand), epochs=5, verbose=2)
