# backends: tensorflow, jax, torch
"""Cross-validation with a fresh model for each fold."""

import numpy as np
import keras
from keras import layers

rng = np.random.default_rng(29)
x = rng.normal(size=(200, 6)).astype("float32")
y = (x[:, 0] + 0.5 * rng.normal(size=200) > 0).astype("int32")


def build():
    inputs = keras.Input((6,))
    h = layers.Dense(12, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(h))
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="binary_crossentropy", metrics=["accuracy"])
    return model


scores = []
order = rng.permutation(200)
for fold in np.array_split(order, 4):
    rest = np.setdiff1d(order, fold)
    model = build()
    model.fit(x[rest], y[rest], batch_size=30, epochs=3, verbose=0)
    scores.append(model.evaluate(x[fold], y[fold], verbose=0)[1])
print("accuracy %.3f +- %.3f" % (np.mean(scores), np.std(scores)))
