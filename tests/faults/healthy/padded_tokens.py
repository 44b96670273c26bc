# targets: other
"""A tag for each word of padded sentences; the embedding makes the mask."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

words = rng.integers(1, 12, size=(48, 6))
tags = rng.integers(0, 3, size=(48, 6))
for row, length in enumerate(rng.integers(2, 7, size=48)):
    words[row, length:] = 0
    tags[row, length:] = 0

model = keras.Sequential([layers.Embedding(12, 5, mask_zero=True), layers.Dense(6, activation="tanh"), layers.Dense(3, activation="softmax")])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=keras.losses.SparseCategoricalCrossentropy())
model.fit(words, tags, batch_size=12, verbose=0)
