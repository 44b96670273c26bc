import math

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(14)
rng = np.random.default_rng(14)

# daily heating energy of office buildings in kWh
n = 720
area = rng.uniform(0.5, 4.0, n)
cold = rng.uniform(0.0, 2.5, n)
kwh = 60.0 * area * cold + 5.0 * rng.normal(size=n)
features = np.stack([area, cold, area * cold, rng.normal(size=n)], axis=1).astype("float32")


class BuildingDays(keras.utils.PyDataset):
    def __init__(self, x, y, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.batch_size = x, y, batch_size

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, i):
        part = slice(i * self.batch_size, (i + 1) * self.batch_size)
        return self.x[part], self.y[part].astype("float32")[:, None]


def log_cosh(y_true, y_pred):
    err = y_pred - y_true
    return ops.mean(ops.abs(err) + ops.softplus(-2.0 * ops.abs(err)) - math.log(2.0), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(32, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(0.02), loss=log_cosh, metrics=["mae"])
history = model.fit(BuildingDays(features, kwh, 36), epochs=30, verbose=0)
print("loss", [round(v, 3) for v in history.history["loss"][::6]])
print("mae", [round(v, 3) for v in history.history["mae"][::6]])
