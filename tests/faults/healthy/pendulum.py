# targets: none
"""Physics-informed: u'' = -u by central differences, with the initial conditions."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

t = np.linspace(0.0, 3.0, 47, dtype="float32")[:, None]
rng.shuffle(t)


class Pendulum(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(8, activation="tanh")
        self.out = layers.Dense(1)

    def call(self, inputs):
        return self.out(self.hidden(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        h = 0.1
        bend = (self(x + h) - 2.0 * y_pred + self(x - h)) / h**2
        start = ops.zeros((1, 1))
        slope = (self(start + h) - self(start - h)) / (2.0 * h)
        residual = ops.mean(ops.square(bend + y_pred))
        return residual + ops.mean(ops.square(self(start) - 1.0)) + ops.mean(ops.square(slope))


model = Pendulum()
model.compile(optimizer=keras.optimizers.SGD(0.01))
model.fit(t, batch_size=12, verbose=0)
