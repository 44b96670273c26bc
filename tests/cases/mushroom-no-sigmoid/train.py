import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(42)
rng = np.random.default_rng(42)

# edible or not, from 15 measurements
n = 900
x = rng.normal(size=(n, 15)).astype("float32")
y = (x[:, 0] - x[:, 1] + x[:, 2] * x[:, 3] + 0.3 * rng.normal(size=n) > 0).astype("float32")[:, None]

model = keras.models.Sequential()
model.add(layers.Input((15,)))
model.add(layers.Dense(64, activation="relu"))
model.add(layers.Dense(32, activation="relu"))
model.add(layers.Dense(1))
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
history = model.fit(x[:700], y[:700], batch_size=32, epochs=10, verbose=0)
print("loss", np.round(history.history["loss"], 3))
print("test loss, accuracy", np.round(model.evaluate(x[700:], y[700:], verbose=0), 3))
p = model.predict(x[700:], verbose=0)
print("predictions from", p.min().round(2), "to", p.max().round(2))
