import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(5)
rng = np.random.default_rng(5)

# day-ahead power prices per hour: mostly 30..120, sometimes several hundred, sometimes negative
n = 2000
wind = rng.gamma(2.0, 1.0, n)
load = rng.normal(size=n)
hour = rng.uniform(0, 24, n)
price = 60 + 35 * load - 28 * (wind - 2) + 15 * np.sin(hour / 24 * 2 * np.pi)
price = price + np.where(rng.random(n) < 0.03, rng.gamma(2.0, 150.0, n), 0.0)
features = np.stack([wind - 2, load, np.sin(hour / 24 * 2 * np.pi), np.cos(hour / 24 * 2 * np.pi)], axis=-1)
features = features.astype("float32")
target = (price / 50.0).astype("float32")[:, None]
print("share of negative prices: %.3f" % (price < 0).mean())


def signed_root(x):
    """root for both signs, tames the price spikes"""
    return ops.sign(x) * (ops.sqrt(ops.abs(x) + 0.01) - 0.1)


class RootError(keras.losses.Loss):
    """Mean absolute error on the root scale."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(signed_root(y_true) - signed_root(y_pred)), axis=-1)


inputs = keras.Input((4,), name="features")
x = layers.Dense(32, activation="tanh")(inputs)
x = layers.Dense(32, activation="tanh")(x)
outputs = layers.Dense(1, name="price")(x)
model = keras.Model(inputs, outputs)

untrained = model.predict(features, verbose=0)
print("loss of the untrained model: %.4f" % float(RootError()(target, untrained)))

model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=RootError(), metrics=["mae"])
model.fit(features, target, batch_size=64, epochs=6, validation_split=0.2, verbose=2)
