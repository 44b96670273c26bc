import functools

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(12)
rng = np.random.default_rng(12)

sick = (rng.random(900) < 0.1).astype("float32")
vitals = (rng.normal(size=(900, 8)) + 0.7 * sick[:, None]).astype("float32")


class Ward(keras.utils.PyDataset):
    def __init__(self, x, y, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y, self.batch_size = x, y, batch_size

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, i):
        rows = slice(i * self.batch_size, (i + 1) * self.batch_size)
        return self.x[rows], self.y[rows]


def probabilities(loss):
    """Keeps the probabilities that reach a log inside (0, 1)."""

    @functools.wraps(loss)
    def wrapped(y_true, y_pred):
        eps = keras.config.epsilon()
        return loss(y_true, ops.clip(y_pred, eps, 1.0 - eps))

    return wrapped


@probabilities
def log_loss(y_true, y_pred):
    return -ops.mean(y_true * ops.log(y_pred) + (1.0 - y_true) * ops.log(1.0 - y_pred), axis=-1)


model = keras.Sequential(
    [
        layers.Input((8,)),
        layers.Dense(16, activation="relu"),
        layers.BatchNormalization(),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=log_loss)
model.fit(Ward(vitals, sick, 64), epochs=10, class_weight={0: 1.0, 1: 15.0}, verbose=0)

alarm = model.predict(vitals, verbose=0)[:, 0] > 0.5
print("recall %.2f" % alarm[sick == 1].mean())
print("false alarms %.2f" % alarm[sick == 0].mean())
