# backends: tensorflow, jax, torch
"""Gradient reversal by custom_gradient: the domain head learns, the encoder unlearns the domain."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(10)
rng = np.random.default_rng(10)

weed = rng.integers(0, 2, 500)
field = rng.integers(0, 2, 500)
plants = rng.normal(size=(500, 10)) + 1.5 * weed[:, None] * np.eye(10)[0] + 2.0 * field[:, None] * np.eye(10)[1]
plants = plants.astype("float32")


@ops.custom_gradient
def reverse(x):
    def grad(*args, upstream=None):
        if upstream is None:
            (upstream,) = args
        return -0.3 * upstream

    return x * 1.0, grad


class Reverse(layers.Layer):
    def call(self, x):
        return reverse(x)


inputs = keras.Input((10,))
features = layers.Dense(16, activation="relu")(inputs)
weed_out = layers.Dense(1, activation="sigmoid", name="weed")(features)
h = layers.Dense(8, activation="relu")(Reverse()(features))
field_out = layers.Dense(1, activation="sigmoid", name="field")(h)
model = keras.Model(inputs, [weed_out, field_out])
model.compile(
    optimizer=keras.optimizers.Adam(5e-3),
    loss={"weed": "binary_crossentropy", "field": "binary_crossentropy"},
    loss_weights={"weed": 1.0, "field": 0.5},
    metrics={"weed": "accuracy"},
)
history = model.fit(plants, {"weed": weed, "field": field}, batch_size=50, epochs=6, verbose=0).history
print({name: round(values[-1], 3) for name, values in history.items()})
