import functools
import os
import tempfile

import keras
import numpy as np
from keras import ops

keras.utils.set_random_seed(18)
rng = np.random.default_rng(18)

# satellite pixels, four crops. Missing winter wheat is expensive.
CROPS = ["fallow", "wheat", "maize", "beet"]
centers = rng.normal(size=(4, 10))
labels = rng.integers(0, 4, 1200)
X = (centers[labels] + 0.9 * rng.normal(size=(1200, 10))).astype("float32")
Y = np.eye(4, dtype="float32")[labels]

w_array = np.array([1.0, 5.0, 1.0, 1.5], "float32")


def w_categorical_crossentropy(y_true, y_pred, weights):
    """cross-entropy, each sample weighted with the cost of its crop"""
    weights = ops.convert_to_tensor(weights, dtype=y_pred.dtype)
    cost = ops.sum(y_true * weights, axis=-1)
    return cost * ops.categorical_crossentropy(y_true, y_pred)


def build_model():
    inputs = keras.Input((10,))
    x = keras.layers.Dense(24, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(x))


ncce = functools.partial(w_categorical_crossentropy, weights=w_array)
ncce.__name__ = "w_categorical_crossentropy"

model = build_model()
model.compile(loss=ncce, optimizer=keras.optimizers.SGD(0.05, momentum=0.9), metrics=["accuracy"])
model.fit(X, Y, batch_size=48, epochs=6, verbose=2)

path = os.path.join(tempfile.mkdtemp(), "crops.keras")
model.save(path)
print("saved", os.path.getsize(path), "bytes")

model = keras.models.load_model(path, custom_objects={"w_categorical_crossentropy": w_categorical_crossentropy})
model.fit(X, Y, batch_size=48, epochs=2, verbose=2)
