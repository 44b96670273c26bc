import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(5)
rng = np.random.default_rng(5)

# SCADA records of a wind farm: produced power (MW) and bearing wear (a rough index, large numbers)
n = 800
scada = rng.normal(size=(n, 10)).astype("float32")
power = (2.0 + 0.6 * scada[:, 0] - 0.4 * scada[:, 1] + 0.3 * scada[:, 2] * scada[:, 3]).astype("float32")[:, None]
bearing = (40.0 * rng.normal(size=n) + 15.0 * scada[:, 4]).astype("float32")[:, None]


class TurbineNet(keras.Model):
    def __init__(self, units=24):
        super().__init__()
        self.trunk = layers.Dense(units, activation="relu")
        self.power_head = layers.Dense(1)
        self.bearing_head = layers.Dense(1)

    def call(self, inputs):
        z = self.trunk(inputs)
        return {"power": self.power_head(z), "bearing": self.bearing_head(z)}


model = TurbineNet()
model.compile(
    optimizer=keras.optimizers.Adam(5e-3),
    loss={"power": "mse", "bearing": "mse"},
    loss_weights={"power": 1.0, "bearing": 0.0005},
)
history = model.fit(scada, {"power": power, "bearing": bearing}, batch_size=40, epochs=25, verbose=0)
for key in sorted(history.history):
    print(f"{key:14s}", np.round(history.history[key][::6], 3))

pred = model.predict(scada, verbose=0)
print("power mse %.4f (variance %.4f)" % (np.mean((pred["power"] - power) ** 2), power.var()))
print("weighted by hand %.3f" % (np.mean((pred["power"] - power) ** 2) + 0.0005 * np.mean((pred["bearing"] - bearing) ** 2)))
