# backends: tensorflow, jax, torch
"""compute_loss calls super (which brings the compiled loss, weights and regularizers) and adds one term of its own."""

import numpy as np
import keras
from keras import layers, ops, regularizers

keras.utils.set_random_seed(32)
rng = np.random.default_rng(32)
x = rng.normal(size=(400, 6)).astype("float32")
delay = np.maximum(0.0, x[:, :1] + 0.3 * rng.normal(size=(400, 1))).astype("float32")
weight = np.where(x[:, 1] > 0, 1.0, 0.3).astype("float32")


class DelayModel(keras.Model):
    """Delays are never negative."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        return loss + 0.5 * ops.mean(ops.square(ops.relu(-y_pred)))


inputs = keras.Input((6,))
h = layers.Dense(16, activation="relu", kernel_regularizer=regularizers.l2(1e-3))(inputs)
model = DelayModel(inputs, layers.Dense(1)(h))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mae", metrics=["mse"], weighted_metrics=["mae"])
history = model.fit(x, delay, sample_weight=weight, batch_size=50, epochs=5, verbose=0).history
print({name: np.round(values[-1], 4) for name, values in history.items()})
