# backends: jax
"""The stateless train_step of the JAX guide, with sample weights and the losses of the layers."""

import jax
import numpy as np
import keras
from keras import layers, ops, regularizers

keras.utils.set_random_seed(56)
rng = np.random.default_rng(56)
x = rng.normal(size=(320, 5)).astype("float32")
salinity = (x[:, :1] * x[:, 1:2] + x[:, 2:3]).astype("float32")
trust = rng.uniform(0.3, 1.0, 320).astype("float32")


class SalinityModel(keras.Model):
    def objective(self, trainable, non_trainable, x, y, sample_weight):
        y_pred, non_trainable, losses = self.stateless_call(
            trainable, non_trainable, x, return_losses=True, training=True
        )
        per_sample = ops.mean(ops.square(y - y_pred), axis=-1)
        if sample_weight is not None:
            per_sample = per_sample * sample_weight
        return ops.mean(per_sample) + sum(losses), (y_pred, non_trainable)

    def train_step(self, state, data):
        trainable, non_trainable, optimizer_variables, metrics_variables = state
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        grad_fn = jax.value_and_grad(self.objective, has_aux=True)
        (loss, (y_pred, non_trainable)), gradients = grad_fn(trainable, non_trainable, x, y, sample_weight)
        trainable, optimizer_variables = self.optimizer.stateless_apply(optimizer_variables, gradients, trainable)
        (tracker,) = self.metrics
        metrics_variables = tracker.stateless_update_state(metrics_variables, loss)
        logs = {tracker.name: tracker.stateless_result(metrics_variables)}
        return logs, (trainable, non_trainable, optimizer_variables, metrics_variables)


inputs = keras.Input((5,))
h = layers.Dense(24, activation="relu", kernel_regularizer=regularizers.l2(1e-3))(inputs)
model = SalinityModel(inputs, layers.Dense(1)(h))
model.compile(optimizer=keras.optimizers.Adam(0.01))
history = model.fit(x, salinity, sample_weight=trust, batch_size=50, epochs=6, verbose=0).history["loss"]
print("loss", np.round(history, 4))
