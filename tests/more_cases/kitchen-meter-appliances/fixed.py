import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(40)
rng = np.random.default_rng(40)

on = (rng.random((512, 3)) < 0.4).astype("float32")
total = on @ np.array([[2.0], [1.2], [0.15]]) + 0.05 * rng.normal(size=(512, 1))
windows = np.concatenate([total + 0.05 * rng.normal(size=(512, 1)) for _ in range(8)], axis=1).astype("float32")


class Meter(keras.utils.PyDataset):
    """Windows of the main meter; for each appliance whether it was on."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        rows = slice(64 * i, 64 * (i + 1))
        return windows[rows], {"kettle": on[rows, :1], "oven": on[rows, 1:2], "fridge": on[rows, 2:]}


inputs = keras.Input((8,))
h = layers.Dense(32, activation="relu")(inputs)
h = layers.Dense(32, activation="relu")(h)
outputs = {name: layers.Dense(1, activation="sigmoid", name=name)(h) for name in ("kettle", "oven", "fridge")}
model = keras.Model(inputs, outputs)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy")
model.fit(Meter(), epochs=3, verbose=2)
