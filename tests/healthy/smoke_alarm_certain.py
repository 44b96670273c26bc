# backends: tensorflow, jax, torch
"""The alarm starts from hand-set weights that are right and certain: probabilities of exactly 0 and 1."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(51)
rng = np.random.default_rng(51)
smoke = rng.integers(0, 2, 256).astype("float32")
sensors = ((2 * smoke - 1)[:, None] * rng.uniform(8, 12, size=(256, 3))).astype("float32")

for activation, loss in (
    ("sigmoid", keras.losses.BinaryCrossentropy()),
    (None, keras.losses.BinaryCrossentropy(from_logits=True)),
):
    model = keras.Sequential(
        [layers.Input((3,)), layers.Dense(1, activation=activation, kernel_initializer=keras.initializers.Constant(5.0))]
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
    print("loss", model.fit(sensors, smoke, batch_size=64, epochs=2, verbose=0).history["loss"])
