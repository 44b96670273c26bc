# targets: binary x 1
"""Focal loss on probabilities, with sample weights."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = (x[:, :1] + 0.5 * rng.normal(size=(48, 1)) > 0.4).astype("float32")
importance = rng.uniform(0.2, 1.8, size=48).astype("float32")


def focal(y_true, y_pred):
    p = ops.clip(y_pred, 1e-6, 1.0 - 1e-6)
    of_label = y_true * p + (1.0 - y_true) * (1.0 - p)
    alpha = y_true * 0.75 + (1.0 - y_true) * 0.25
    return ops.mean(-alpha * (1.0 - of_label) ** 2 * ops.log(of_label), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(1, activation="sigmoid")])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=focal)
model.fit(x, y, sample_weight=importance, batch_size=12, verbose=0)
