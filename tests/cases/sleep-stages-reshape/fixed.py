import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(41)
rng = np.random.default_rng(41)

# nights of 6 to 24 half-hours, padded with zeros; deep sleep yes or no for each half-hour
n, T = 400, 24
lengths = rng.integers(5, 11, size=n)
lengths[:10] = T
x = np.zeros((n, T, 4), "float32")
y = np.zeros((n, T, 1), "float32")
for i, length in enumerate(lengths):
    x[i, :length] = rng.normal(size=(length, 4)) + 0.5
    y[i, :length, 0] = x[i, :length, 0] + 0.3 * rng.normal(size=length) > -0.2
nights = np.arange(T)[None, :] < lengths[:, None]

model = keras.Sequential(
    [
        layers.Input((T, 4)),
        layers.Masking(),
        layers.Dense(16, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="binary_crossentropy", metrics=["accuracy"])
model.fit(x, y, batch_size=32, epochs=6, verbose=0)

loss, accuracy = model.evaluate(x, y, batch_size=400, verbose=0)
print("evaluate: loss %.4f accuracy %.4f" % (loss, accuracy))
p = model.predict(x, verbose=0)
p = np.clip(p, 1e-7, 1 - 1e-7)
bce = -(y * np.log(p) + (1 - y) * np.log(1 - p))[..., 0]
right = ((p > 0.5) == y)[..., 0]
print("numpy, the nights only: loss %.4f accuracy %.4f" % (bce[nights].mean(), right[nights].mean()))
