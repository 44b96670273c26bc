# targets: binary x 3
"""Several labels per sample, positives weighted up, on logits."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = (rng.random((48, 3)) < [0.6, 0.3, 0.2]).astype("float32")
importance = rng.uniform(0.2, 1.8, size=48).astype("float32")


def weighted_logits(y_true, y_pred):
    loss = ops.relu(y_pred) - y_pred * y_true + ops.log1p(ops.exp(-ops.abs(y_pred)))
    return ops.mean((1.0 + 2.0 * y_true) * loss, axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(3)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=weighted_logits)
model.fit(x, y, sample_weight=importance, batch_size=12, verbose=0)
