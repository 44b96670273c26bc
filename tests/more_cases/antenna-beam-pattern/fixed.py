import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(31)
rng = np.random.default_rng(31)

phases = rng.uniform(-1, 1, size=(640, 8)).astype("float32")
taper = rng.uniform(0.5, 1.0, size=(640, 8)).astype("float32")
angles = np.linspace(-1, 1, 16)
steering = np.exp(1j * np.pi * np.arange(8)[:, None] * angles)
pattern = np.abs((taper * np.exp(1j * np.pi * phases)) @ steering).astype("float32") / 8.0


@tf.function
def pattern_error(y_true, y_pred):
    return 0.5 * tf.reduce_mean(tf.square(y_true - y_pred), axis=-1)


phase_in = keras.Input((8,), name="phase")
taper_in = keras.Input((8,), name="taper")
h = layers.concatenate([phase_in, taper_in])
h = layers.Dense(48, activation="relu")(h)
h = layers.Dense(48, activation="relu")(h)
model = keras.Model([phase_in, taper_in], layers.Dense(16)(h))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=pattern_error)
data = {"phase": phases, "taper": taper}
model.fit({k: v[:512] for k, v in data.items()}, pattern[:512], batch_size=64, epochs=5, verbose=0)

held_out = {k: v[512:] for k, v in data.items()}
for size in (8, 32, 128):
    print("batch of", size, "loss", round(model.evaluate(held_out, pattern[512:], batch_size=size, verbose=0), 5))
error = np.square(model.predict(held_out, verbose=0) - pattern[512:])
print("half mean squared error by numpy %.5f" % (0.5 * error.mean()))
