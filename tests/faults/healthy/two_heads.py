# targets: named
"""Two outputs with a loss each, weighted; targets and losses by name."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
price = (x[:, :1] + 0.3 * rng.normal(size=(48, 1))).astype("float32")
sold = (x[:, 1:2] > 0).astype("float32")

inputs = keras.Input((4,))
hidden = layers.Dense(6, activation="tanh")(inputs)
outputs = {"price": layers.Dense(1, name="price")(hidden), "sold": layers.Dense(1, activation="sigmoid", name="sold")(hidden)}
model = keras.Model(inputs, outputs)
model.compile(
    optimizer=keras.optimizers.SGD(0.05),
    loss={"price": "mse", "sold": "binary_crossentropy"},
    loss_weights={"price": 1.0, "sold": 0.5},
)
model.fit(x, {"price": price, "sold": sold}, batch_size=12, verbose=0)
