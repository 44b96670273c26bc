# targets: one-hot x 3
"""Cross-entropy with a weight for each class, as a Loss."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = np.eye(3, dtype="float32")[rng.choice(3, size=48, p=[0.6, 0.3, 0.1])]
class_weight = np.array([0.5, 1.1, 3.0], dtype="float32")


class WeightedCrossentropy(keras.losses.Loss):
    def call(self, y_true, y_pred):
        weight = ops.sum(ops.multiply(y_true, class_weight), axis=-1)
        return weight * keras.losses.categorical_crossentropy(y_true, y_pred)


model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(3, activation="softmax")])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=WeightedCrossentropy())
model.fit(x, y, batch_size=12, verbose=0)
