# targets: signs x 1
"""The critic of a Wasserstein GAN on real (+1) and made (-1) samples."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

samples = np.concatenate([rng.normal(1.0, 1.0, size=(24, 4)), rng.normal(-1.0, 1.0, size=(24, 4))]).astype("float32")
kind = np.concatenate([np.ones((24, 1)), -np.ones((24, 1))]).astype("float32")


def hinge(y_true, y_pred):
    return ops.mean(ops.relu(1.0 - y_true * y_pred), axis=-1)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=hinge)
model.fit(samples, kind, batch_size=12, verbose=0)
