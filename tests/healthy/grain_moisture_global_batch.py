# backends: tensorflow, jax, torch
"""reduction="sum" on purpose: the sum is divided by the global batch, as the guides for distributed training have it."""

import numpy as np
import keras
from keras import layers, losses, ops

keras.utils.set_random_seed(34)
rng = np.random.default_rng(34)
GLOBAL_BATCH = 64

x = rng.normal(size=(384, 5)).astype("float32")
y = (x @ rng.normal(size=(5, 1))).astype("float32")


class ShareOfBatch(losses.Loss):
    """This replica's share of the mean over the global batch."""

    def __init__(self, global_batch, name="share_of_batch"):
        super().__init__(name=name, reduction="sum")
        self.global_batch = global_batch

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1) / self.global_batch


model = keras.Sequential([layers.Input((5,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=ShareOfBatch(GLOBAL_BATCH), metrics=["mse"])
history = model.fit(x, y, batch_size=GLOBAL_BATCH, epochs=5, verbose=0).history
print({name: np.round(values[-1], 4) for name, values in history.items()})
