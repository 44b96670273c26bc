# backends: jax
"""Physics-informed network in JAX: derivatives by the inputs in a stateless train_step."""

import jax
import jax.numpy as jnp
import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(41)
t = np.linspace(0, 3, 96, dtype="float32")[:, None]


class Oscillator(keras.Model):
    def objective(self, trainable, non_trainable, t):
        def u(time):
            values, _ = self.stateless_call(trainable, non_trainable, time.reshape(1, 1), training=True)
            return values[0, 0]

        times = t[:, 0]
        ddu = jax.vmap(jax.grad(jax.grad(u)))(times)
        residual = jnp.mean(jnp.square(ddu + jax.vmap(u)(times)))
        start = jnp.float32(0.0)
        return residual + jnp.square(u(start) - 1.0) + jnp.square(jax.grad(u)(start))

    def train_step(self, state, data):
        trainable, non_trainable, optimizer_variables, metrics_variables = state
        loss, gradients = jax.value_and_grad(self.objective)(trainable, non_trainable, data)
        trainable, optimizer_variables = self.optimizer.stateless_apply(optimizer_variables, gradients, trainable)
        (tracker,) = self.metrics
        metrics_variables = tracker.stateless_update_state(metrics_variables, loss)
        logs = {"loss": tracker.stateless_result(metrics_variables)}
        return logs, (trainable, non_trainable, optimizer_variables, metrics_variables)


inputs = keras.Input((1,))
h = layers.Dense(16, activation="tanh")(inputs)
model = Oscillator(inputs, layers.Dense(1, use_bias=False)(layers.Dense(16, activation="tanh")(h)))
model.compile(optimizer=keras.optimizers.Adam(5e-3))
history = model.fit(t, batch_size=32, epochs=30, verbose=0).history["loss"]
print("loss", np.round(history[::10], 4))
