# backends: tensorflow, jax, torch
"""Transfer: an autoencoder is trained, then its encoder serves a classifier for another task. No fresh start is meant."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(24)
rng = np.random.default_rng(24)

t = np.linspace(0, 1, 32)
rhythm = rng.integers(0, 2, 400)
beats = np.sin(2 * np.pi * (3 + 2 * rhythm[:, None]) * t + rng.uniform(0, 1, (400, 1))) + 0.3 * rng.normal(size=(400, 32))
beats = beats[..., None].astype("float32")

inputs = keras.Input((32, 1))
h = layers.Conv1D(8, 5, strides=2, padding="same", activation="relu")(inputs)
code = layers.Dense(12, activation="relu", name="code")(layers.Flatten()(h))
encoder = keras.Model(inputs, code, name="encoder")
rebuilt = layers.Reshape((32, 1))(layers.Dense(32)(encoder(inputs)))
autoencoder = keras.Model(inputs, rebuilt)
autoencoder.compile(optimizer=keras.optimizers.Adam(5e-3), loss="mse")
autoencoder.fit(beats, beats, batch_size=50, epochs=3, verbose=0)

encoder.trainable = False
head = layers.Dense(1, activation="sigmoid")(encoder(inputs))
classifier = keras.Model(inputs, head)
classifier.compile(optimizer=keras.optimizers.Adam(0.02), loss="binary_crossentropy", metrics=["accuracy"])
history = classifier.fit(beats[:60], rhythm[:60], batch_size=20, epochs=5, verbose=0).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
