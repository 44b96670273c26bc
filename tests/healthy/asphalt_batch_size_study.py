# backends: tensorflow, jax, torch
"""How does the batch size matter? Fresh models, evaluated with several batch sizes; the custom loss does not care."""

import numpy as np
import keras
from keras import layers, ops

rng = np.random.default_rng(30)
x = rng.normal(size=(330, 5)).astype("float32")
y = (x[:, :2] * [1.0, -2.0] + 0.1 * rng.normal(size=(330, 2))).astype("float32")


def scaled_error(y_true, y_pred):
    return ops.sum(ops.square((y_true - y_pred) / ops.convert_to_tensor([1.0, 2.0])), axis=-1)


for train_size in (16, 100):
    keras.utils.set_random_seed(30)
    model = keras.Sequential([layers.Input((5,)), layers.Dense(16, activation="relu"), layers.Dense(2)])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=scaled_error)
    model.fit(x, y, batch_size=train_size, epochs=3, verbose=0)
    losses = [model.evaluate(x, y, batch_size=size, verbose=0) for size in (10, 33, 330)]
    print("trained with", train_size, "evaluated", np.round(losses, 5))
