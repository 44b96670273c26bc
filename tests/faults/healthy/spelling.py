# targets: other
"""CTC on logits, the lengths of the labels from their padding."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

sound = rng.normal(size=(30, 8, 3)).astype("float32")
letters = rng.integers(1, 4, size=(30, 3))
letters[::3, 2:] = 0


def ctc(y_true, y_pred):
    y_true = ops.cast(y_true, "int32")
    lengths = ops.sum(ops.cast(ops.not_equal(y_true, 0), "int32"), axis=-1)
    steps = ops.full((ops.shape(y_pred)[0],), 8, dtype="int32")
    return ops.ctc_loss(y_true, y_pred, lengths, steps)


model = keras.Sequential([keras.Input((8, 3)), layers.Dense(6, activation="tanh"), layers.Dense(4)])
model.compile(optimizer=keras.optimizers.SGD(0.01), loss=ctc)
model.fit(sound, letters, batch_size=6, verbose=0)
