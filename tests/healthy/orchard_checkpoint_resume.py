# backends: tensorflow, jax, torch
"""Training in two calls of fit on one model: continued on purpose, with early stopping and validation data."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(70)
rng = np.random.default_rng(70)
x = rng.normal(size=(300, 7)).astype("float32")
fruit = np.exp(0.3 * x[:, 0] + 0.1 * x[:, 1])

model = keras.Sequential([layers.Input((7,)), layers.Dense(16, activation="relu"), layers.Dense(1, activation="softplus")])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mean_squared_logarithmic_error", metrics=["mae"])
stop = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
first = model.fit(x, fruit, validation_split=0.2, batch_size=48, epochs=3, callbacks=[stop], verbose=0).history
second = model.fit(x, fruit, validation_split=0.2, batch_size=48, initial_epoch=3, epochs=6, verbose=0).history
print("val_loss", np.round(first["val_loss"] + second["val_loss"], 4))
