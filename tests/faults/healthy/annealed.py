# targets: real x 2
"""A penalty whose weight grows from epoch to epoch: a weight of the layer, assigned by a callback."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = (x[:, :2] + 0.3 * rng.normal(size=(48, 2))).astype("float32")


class Shrink(layers.Layer):
    def __init__(self):
        super().__init__()
        self.strength = self.add_weight(shape=(), initializer="zeros", trainable=False, name="strength")

    def call(self, inputs):
        self.add_loss(self.strength * ops.mean(ops.square(inputs)))
        return inputs


shrink = Shrink()


class Anneal(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        shrink.strength.assign(0.1 * epoch)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), shrink, layers.Dense(2)])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss="mse")
model.fit(x, y, batch_size=12, epochs=3, callbacks=[Anneal()], verbose=0)
