import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(38)
rng = np.random.default_rng(38)

history = rng.normal(size=(400, 6, 4)).astype("float32")
person = rng.normal(size=(400, 3)).astype("float32")
stay = (history[..., 0].sum(axis=1) + person[:, 0] + 0.2 * rng.normal(size=400)).astype("float32")
returns = (history[:, -1, 1] + person[:, 2] > 0).astype("float32")

history_in = keras.Input((6, 4), name="history")
person_in = keras.Input((3,), name="person")
h = layers.Concatenate()([layers.LSTM(12)(history_in), person_in])
stay_out = layers.Dense(1, name="length_of_stay")(h)
returns_out = layers.Dense(1, activation="sigmoid", name="readmission")(h)
model = keras.Model([history_in, person_in], [stay_out, returns_out])

model.compile(
    optimizer="adam",
    loss={"length_of_stay": "huber", "readmission": "binary_crossentropy"},
    metrics={"length_of_stay": "mae"},
)
model.fit([history, person], [stay, returns], batch_size=40, epochs=2, verbose=2)
