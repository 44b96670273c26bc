import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(58)
rng = np.random.default_rng(58)

signals = rng.normal(size=(480, 10)).astype("float32")
charge = (signals[:, :1] + 0.1 * rng.normal(size=(480, 1))).astype("float32")
health = (0.9 - 0.3 * signals[:, 4:5] + 0.05 * rng.normal(size=(480, 1))).astype("float32")

inputs = keras.Input((10,))
h = layers.Dense(24, activation="relu")(inputs)
model = keras.Model(inputs, [layers.Dense(1, name="charge")(h), layers.Dense(1, name="health")(h)])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=["mse"])
history = model.fit(signals, [charge, health], batch_size=40, epochs=12, verbose=0).history
print({name: np.round(values[-1], 4) for name, values in history.items()})
for name, truth, found in zip(("charge", "health"), (charge, health), model.predict(signals, verbose=0)):
    print(f"{name}: mean squared error {np.mean((found - truth) ** 2):.4f} of variance {truth.var():.4f}")
