# backends: tensorflow, jax, torch
"""Connectionist temporal classification of short words; label 0 is the blank and pads the shorter words."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(19)
rng = np.random.default_rng(19)

STEPS, LETTERS, LONGEST = 18, 5, 4
n = 128
words = np.zeros((n, LONGEST), "int32")
sound = 0.3 * rng.normal(size=(n, STEPS, LETTERS))
for i in range(n):
    length = rng.integers(2, LONGEST + 1)
    words[i, :length] = rng.integers(1, LETTERS + 1, length)
    for k, letter in enumerate(words[i, :length]):
        sound[i, 4 * k + 1 : 4 * k + 4, letter - 1] += 2.0
sound = sound.astype("float32")

inputs = keras.Input((STEPS, LETTERS))
h = layers.Bidirectional(layers.GRU(12, return_sequences=True))(inputs)
model = keras.Model(inputs, layers.Dense(LETTERS + 1)(h))
model.compile(optimizer=keras.optimizers.Adam(0.02), loss=keras.losses.CTC())
history = model.fit(sound, words, batch_size=32, epochs=4, verbose=0).history["loss"]
print("loss", np.round(history, 3))
