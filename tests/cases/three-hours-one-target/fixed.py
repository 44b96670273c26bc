import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(22)
rng = np.random.default_rng(22)

# electric load, one value per hour; look back a day, forecast the next three hours
hours = np.arange(2000)
load = 50 + 12 * np.sin(2 * np.pi * hours / 24) + 5 * np.sin(2 * np.pi * hours / 12 + 1) + rng.normal(0, 0.5, 2000)
load = (load - load.mean()) / load.std()
lookback = 24
starts = np.arange(lookback, len(load) - 3)
x = np.stack([load[t - lookback : t] for t in starts]).astype("float32")
ahead = np.stack([load[t : t + 3] for t in starts]).astype("float32")
y = ahead

model = keras.Sequential(
    [
        layers.Input((lookback,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(3),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mean_squared_error", metrics=["mae"])
model.fit(x[:1500], y[:1500], batch_size=32, epochs=12, verbose=0)

print("evaluate:", model.evaluate(x[1500:], y[1500:], verbose=0))
error = np.abs(model.predict(x[1500:], verbose=0) - ahead[1500:]).mean(axis=0)
print("mean error 1, 2, 3 hours ahead:", error.round(3))
