# backends: tensorflow, jax, torch
"""Fine-tuning: the base is frozen for the first phase and released for the second, compiled anew each time."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(25)
rng = np.random.default_rng(25)

fish = rng.integers(0, 4, 240)
images = (rng.normal(0, 0.3, (240, 8, 8, 1)) + 0.5 * rng.random((4, 8, 8, 1))[fish]).astype("float32")

base = keras.Sequential(
    [layers.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu"), layers.BatchNormalization(), layers.Flatten()],
    name="base",
)
base.trainable = False
inputs = keras.Input((8, 8, 1))
outputs = layers.Dense(4, activation="softmax")(base(inputs, training=False))
model = keras.Model(inputs, outputs)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
first = model.fit(images, fish, batch_size=40, epochs=3, verbose=0).history

base.trainable = True
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
second = model.fit(images, fish, batch_size=40, epochs=3, verbose=0).history
print("loss", np.round(first["loss"] + second["loss"], 4))
