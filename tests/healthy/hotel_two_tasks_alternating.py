# backends: tensorflow, jax, torch
"""Two models share a trunk and are trained in turn, one batch each: a multi-task recipe, not a comparison."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(28)
rng = np.random.default_rng(28)

x = rng.normal(size=(400, 8)).astype("float32")
price = (x[:, :1] + x[:, 1:2]).astype("float32")
booked = (x[:, 0] - x[:, 3] > 0).astype("float32")[:, None]

inputs = keras.Input((8,))
trunk = layers.Dense(24, activation="relu", name="trunk")(inputs)
price_model = keras.Model(inputs, layers.Dense(1, name="price")(trunk))
booking_model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="booked")(trunk))
price_model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="mse")
booking_model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="binary_crossentropy")

for step in range(60):
    rows = rng.integers(0, 400, 40)
    price_loss = price_model.train_on_batch(x[rows], price[rows])
    booking_loss = booking_model.train_on_batch(x[rows], booked[rows])
print("price %.3f, booking %.3f" % (float(price_loss), float(booking_loss)))
