import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
from tensorflow import math

keras.utils.set_random_seed(13)
rng = np.random.default_rng(13)

# position of the four corners of a sheet (x, y in 0..1) from 24 edge features
n = 640
corners = np.array([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]) + 0.05 * rng.normal(size=(n, 4, 2))
mix = rng.normal(size=(8, 24))
edges = ((corners.reshape(n, 8) - 0.5) @ mix + 0.02 * rng.normal(size=(n, 24))).astype("float32")
corners = corners.astype("float32")


class CornerLoss(keras.losses.Loss):
    """Largest distance between a corner and its prediction, per sheet."""

    def call(self, y_true, y_pred):
        distances = math.sqrt(math.reduce_sum(math.square(y_true - y_pred), axis=-1) + 1e-12)
        return math.reduce_max(distances, axis=-1)


inputs = keras.Input((24,))
x = keras.layers.Dense(32, activation="relu")(inputs)
x = keras.layers.Dense(8)(x)
outputs = keras.layers.Reshape((4, 2))(x)
model = keras.Model(inputs, outputs)

# fine on one batch
first = model(edges[:16])
print("first batch:", float(CornerLoss()(corners[:16], first)))

model.compile(optimizer="adam", loss=CornerLoss())
model.fit(edges, corners, batch_size=32, epochs=5, verbose=2)
