# targets: listed
"""Two tasks weighted by learned log variances."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(47, 4)).astype("float32")
first = (x[:, :1] - x[:, 1:2]).astype("float32")
second = (2.0 * x[:, 2:3] + 0.3 * rng.normal(size=(47, 1))).astype("float32")


class TwoTasks(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(6, activation="tanh", kernel_regularizer=keras.regularizers.L1(0.01))
        self.heads = [layers.Dense(1), layers.Dense(1)]
        self.log_vars = self.add_weight(shape=(2,), initializer="zeros", name="log_vars")

    def call(self, inputs):
        hidden = self.hidden(inputs)
        return [head(hidden) for head in self.heads]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        total = sum(self.losses)
        for i in range(2):
            error = ops.mean(ops.square(y[i] - y_pred[i]))
            total = total + ops.exp(-self.log_vars[i]) * error + self.log_vars[i]
        return total


model = TwoTasks()
model.compile(optimizer=keras.optimizers.SGD(0.05))
model.fit(x, [first, second], batch_size=12, verbose=0)
