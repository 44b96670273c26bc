# targets: real x 1
"""A compute_loss with sample weights and regularizers."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(47, 4)).astype("float32")
y = (x[:, :1] + 0.3 * rng.normal(size=(47, 1))).astype("float32")
importance = rng.uniform(0.2, 1.8, size=47).astype("float32")


class Forecast(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(6, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.02))
        self.out = layers.Dense(1)

    def call(self, inputs):
        return self.out(self.hidden(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        errors = ops.mean(ops.square(y - y_pred), axis=-1)
        if sample_weight is not None:
            errors = errors * sample_weight
        return ops.mean(errors) + sum(self.losses)


model = Forecast()
model.compile(optimizer=keras.optimizers.SGD(0.05))
model.fit(x, y, sample_weight=importance, batch_size=12, verbose=0)
