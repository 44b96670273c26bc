import numpy as np
import keras
from keras import layers, losses, ops

keras.utils.set_random_seed(56)
rng = np.random.default_rng(56)

weather = rng.uniform(0, 1, size=(400, 5)).astype("float32")
clear_sky = rng.uniform(0.1, 1.0, size=(400, 1)).astype("float32")
power = (clear_sky * (1.0 - 0.7 * weather[:, :1]) + 0.02 * rng.normal(size=(400, 1))).astype("float32")


class CappedError(losses.Loss):
    """Squared error; power above the clear-sky limit (second column of the targets) costs extra."""

    def __init__(self, price=5.0, name="capped_error"):
        super().__init__(name=name)
        self.price = price

    def call(self, y_true, y_pred):
        measured, limit = y_true[:, :1], y_true[:, 1:]
        above = ops.relu(y_pred - limit)
        return ops.mean(ops.square(measured - y_pred) + self.price * ops.square(above), axis=-1)


weather_in = keras.Input((5,), name="weather")
limit_in = keras.Input((1,), name="clear_sky")
h = layers.Concatenate()([weather_in, limit_in])
h = layers.Dense(24, activation="relu")(h)
outputs = layers.Dense(1, name="power")(h)
model = keras.Model([weather_in, limit_in], outputs)
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=CappedError())
targets = np.concatenate([power, clear_sky], axis=1)
model.fit([weather, clear_sky], targets, batch_size=40, epochs=3, verbose=2)
