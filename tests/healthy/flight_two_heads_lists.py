# backends: tensorflow, jax, torch
"""Two outputs, everything in lists: targets, losses, loss_weights, metrics. Targets of shape (N,) and (N, 1)."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(36)
rng = np.random.default_rng(36)
route = rng.normal(size=(360, 4)).astype("float32")
weather = rng.normal(size=(360, 3)).astype("float32")
minutes = (route[:, 0] + weather[:, 0] + 0.1 * rng.normal(size=360)).astype("float32")
diverted = (weather[:, 1:2] > 1.0).astype("float32")

route_in, weather_in = keras.Input((4,), name="route"), keras.Input((3,), name="weather")
h = layers.Dense(20, activation="relu")(layers.Concatenate()([route_in, weather_in]))
outputs = [layers.Dense(1, name="minutes")(h), layers.Dense(1, activation="sigmoid", name="diverted")(h)]
model = keras.Model([route_in, weather_in], outputs)
model.compile(
    optimizer=keras.optimizers.RMSprop(0.005),
    loss=["log_cosh", "binary_crossentropy"],
    loss_weights=[1.0, 0.3],
    metrics=[["mae"], ["accuracy"]],
)
history = model.fit(
    [route, weather], [minutes, diverted], validation_split=0.2, batch_size=48, epochs=4, verbose=0
).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
