# backends: tensorflow, jax, torch
"""compute_loss without super: sample weights are used, and sum(self.losses) is added once."""

import numpy as np
import keras
from keras import layers, ops, regularizers

keras.utils.set_random_seed(33)
rng = np.random.default_rng(33)
spectrum = rng.normal(size=(360, 15)).astype("float32")
acid = (spectrum[:, :2] + 0.1 * rng.normal(size=(360, 2))).astype("float32")
trust = rng.uniform(0.2, 1.0, 360).astype("float32")


class OilModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(16, activation="gelu", kernel_regularizer=regularizers.l1(1e-3))
        self.mean = layers.Dense(2)
        self.log_var = layers.Dense(2)

    def call(self, x):
        h = self.hidden(x)
        return self.mean(h), self.log_var(h)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        mean, log_var = y_pred
        nll = 0.5 * ops.mean(log_var + ops.square(y - mean) * ops.exp(-log_var), axis=-1)
        if sample_weight is not None:
            nll = nll * sample_weight
        return ops.mean(nll) + sum(self.losses)


model = OilModel()
model.compile(optimizer=keras.optimizers.Adam(0.01))
history = model.fit(spectrum, acid, sample_weight=trust, batch_size=40, epochs=6, verbose=0).history["loss"]
print("loss", np.round(history, 4))
