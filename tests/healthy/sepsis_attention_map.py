# backends: tensorflow, jax, torch
"""A second output for inspection, said to have no loss: None in the list, and a dict that leaves it out."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(37)
rng = np.random.default_rng(37)
labs = rng.normal(size=(320, 10)).astype("float32")
risk = (labs[:, :1] * 2.0 - labs[:, 4:5]).astype("float32")


def outputs_of(inputs):
    attention = layers.Dense(10, activation="softmax", name="attention")(inputs)
    return layers.Dense(1, name="risk")(layers.Multiply()([inputs, attention])), attention


inputs = keras.Input((10,))
score, attention = outputs_of(inputs)
model = keras.Model(inputs, [score, attention])
model.compile(optimizer=keras.optimizers.Adam(0.02), loss=["mse", None])
print("list", np.round(model.fit(labs, [risk], batch_size=40, epochs=3, verbose=0).history["loss"], 3))

inputs = keras.Input((10,))
score, attention = outputs_of(inputs)
model = keras.Model(inputs, {"risk": score, "attention": attention})
model.compile(optimizer=keras.optimizers.Adam(0.02), loss={"risk": "mse"})
print("dict", np.round(model.fit(labs, {"risk": risk}, batch_size=40, epochs=3, verbose=0).history["loss"], 3))
