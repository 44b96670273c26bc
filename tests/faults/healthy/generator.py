# targets: other
"""The generator of a GAN, trained through a frozen critic."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

noise = rng.normal(size=(48, 3)).astype("float32")
critic = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(1)])
critic.trainable = False
maker = keras.Sequential([keras.Input((3,)), layers.Dense(6, activation="tanh"), layers.Dense(4)])


def fool(y_true, y_pred):
    return ops.mean(ops.softplus(-y_pred), axis=-1)


inputs = keras.Input((3,))
model = keras.Model(inputs, critic(maker(inputs)))
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=fool)
model.fit(noise, np.ones((48, 1), dtype="float32"), batch_size=12, verbose=0)
