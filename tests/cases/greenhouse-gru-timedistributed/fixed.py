import math

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(21)
rng = np.random.default_rng(21)

# ten minutes of greenhouse sensors (temperature, humidity, light), one reading per minute.
# target: will the vent have opened by the end of the window, and how far (0..1)
samples = 800
timesteps = 10
inputs = 3


def make_windows(n):
    t = rng.normal(size=(n, 1, inputs)).astype("float32")
    drift = rng.normal(scale=0.6, size=(n, timesteps, inputs)).astype("float32").cumsum(axis=1)
    x = t + drift
    score = 1.2 * x[:, -1, 0] - 0.8 * x[:, -2, 1] + 0.3 * x[:, -1, 2]
    opening = 1.0 / (1.0 + np.exp(-score))
    return x, opening.reshape(-1, 1).astype("float32")


class Windows(keras.utils.PyDataset):
    def __init__(self, x, y, batch_size=32, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.batch_size = x, y, batch_size

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, idx):
        sl = slice(idx * self.batch_size, (idx + 1) * self.batch_size)
        return self.x[sl], self.y[sl]


xt, yt = make_windows(samples)
xv, yv = make_windows(200)

print("Building model...")
model = keras.Sequential()
model.add(keras.Input((timesteps, inputs)))
model.add(layers.GRU(24, return_sequences=True))
model.add(layers.GRU(24))
model.add(layers.Dense(1, activation="sigmoid"))
model.compile(loss="mse", optimizer=keras.optimizers.Adam(5e-3))

model.fit(Windows(xt, yt), validation_data=Windows(xv, yv), epochs=8, verbose=2)

pred = model.predict(xv, verbose=0)
print("targets    ", yv[:5, 0].round(2))
print("predictions", np.asarray(pred).reshape(len(xv), -1)[:5, -1].round(2))
print("mae of the last prediction: %.3f" % np.abs(pred.reshape(len(xv), -1)[:, -1] - yv[:, 0]).mean())
