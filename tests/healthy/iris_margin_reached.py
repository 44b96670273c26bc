# backends: tensorflow, jax, torch
"""A hinge loss that starts from a separating plane: all margins are kept, the gradient is 0 and that is right."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(15)
rng = np.random.default_rng(15)

side = np.where(rng.random(300) < 0.5, 1.0, -1.0).astype("float32")[:, None]
flowers = rng.uniform(0.5, 2.0, size=(300, 2)).astype("float32") * side


def hinge(y_true, y_pred):
    return ops.mean(ops.relu(1.0 - y_true * y_pred), axis=-1)


inputs = keras.Input((2,))
plane = layers.Dense(1, kernel_initializer=keras.initializers.Constant(1.5), name="plane")
model = keras.Model(inputs, plane(inputs))
model.compile(optimizer=keras.optimizers.SGD(0.1), loss=hinge)
history = model.fit(flowers, side, batch_size=50, epochs=3, verbose=0).history["loss"]
print("loss", history)
