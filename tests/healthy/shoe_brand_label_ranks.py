# backends: tensorflow, jax, torch
"""Sparse labels of shape (N,) and of shape (N, 1), as int32 and as int64: the same training."""

import numpy as np
import keras
from keras import layers

rng = np.random.default_rng(44)
brand = rng.integers(0, 4, 300)
x = (rng.normal(size=(4, 8))[brand] + 0.5 * rng.normal(size=(300, 8))).astype("float32")

for labels in (brand.astype("int32"), brand[:, None]):
    keras.utils.set_random_seed(44)
    model = keras.Sequential([layers.Input((8,)), layers.Dense(16, activation="relu"), layers.Dense(4, activation="softmax")])
    model.compile(
        optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["sparse_categorical_accuracy"]
    )
    history = model.fit(x, labels, batch_size=50, epochs=3, verbose=0).history
    print(labels.shape, {name: np.round(values[-1], 4) for name, values in history.items()})
