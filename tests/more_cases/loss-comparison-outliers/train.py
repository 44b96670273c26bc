import numpy as np
import keras
from keras import layers

rng = np.random.default_rng(62)
x = rng.normal(size=(400, 8)).astype("float32")
clean = x[:, :1] - 0.6 * x[:, 2:3] + 0.3 * x[:, 5:6] ** 2
y = clean.copy()
spoiled = rng.random(400) < 0.1
y[spoiled] += 12.0
y = y.astype("float32")

keras.utils.set_random_seed(62)
network = [
    layers.Dense(32, activation="relu", name="hidden_1"),
    layers.Dense(16, activation="relu", name="hidden_2"),
    layers.Dense(1, name="target"),
]

# which loss copes best with the spoiled labels?
for loss in ("mse", "mae", "huber"):
    model = keras.Sequential([layers.Input((8,))] + network)
    model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=loss)
    first = model.evaluate(x, y, verbose=0)
    model.fit(x, y, batch_size=40, epochs=6, verbose=0)
    error = np.abs(model.predict(x, verbose=0) - clean).mean()
    print(f"{loss:5s}: loss before training {first:8.4f}, error to the clean values {error:.3f}")
