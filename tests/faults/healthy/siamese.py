# targets: binary x 1
"""Contrastive loss on the distance of two embeddings."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

left = rng.normal(size=(48, 5)).astype("float32")
same = (np.arange(48) % 2).astype("float32")[:, None]
right = np.where(same > 0, left + 0.1 * rng.normal(size=(48, 5)), rng.normal(size=(48, 5))).astype("float32")


def contrastive(y_true, y_pred):
    distance = ops.sqrt(y_pred + 1e-9)
    apart = ops.maximum(1.0 - distance, 0.0)
    return ops.mean(y_true * y_pred + (1.0 - y_true) * ops.square(apart), axis=-1)


first, second = keras.Input((5,)), keras.Input((5,))
embed = keras.Sequential([layers.Dense(6, activation="tanh"), layers.Dense(3)])
squared = layers.Lambda(lambda pair: ops.sum(ops.square(pair[0] - pair[1]), axis=-1, keepdims=True), output_shape=(1,))
model = keras.Model([first, second], squared([embed(first), embed(second)]))
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=contrastive)
model.fit([left, right], same, batch_size=12, verbose=0)
