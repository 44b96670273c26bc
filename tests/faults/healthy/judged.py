# targets: real x 1
"""A regression with metrics that Keras averages rightly, validated in each epoch."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(288, 4)).astype("float32")
y = (x[:, :1] + 0.3 * rng.normal(size=(288, 1))).astype("float32")


def squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=squared, metrics=["mae", keras.metrics.R2Score()])
model.fit(x[:64], y[:64], validation_data=(x[64:], y[64:]), batch_size=4, epochs=2, verbose=0)
