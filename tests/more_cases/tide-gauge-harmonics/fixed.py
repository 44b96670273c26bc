import jax
import jax.numpy as jnp
import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(19)
rng = np.random.default_rng(19)

hours = rng.uniform(0, 720, size=(640, 1))
features = np.concatenate([f(2 * np.pi * hours / p) for p in (12.42, 12.0, 23.93, 25.82) for f in (np.sin, np.cos)], axis=1)
features = features.astype("float32")
level = 1.4 * features[:, :1] + 0.5 * features[:, 3:4] - 0.3 * features[:, 4:5] + 0.05 * rng.normal(size=(640, 1))
level = level.astype("float32")


class TideModel(keras.Model):
    def compute_loss_and_updates(self, trainable_variables, non_trainable_variables, x, y, training=False):
        y_pred, non_trainable_variables = self.stateless_call(
            trainable_variables, non_trainable_variables, x, training=training
        )
        loss = jnp.mean(jnp.square(y - y_pred))
        return loss, (y_pred, non_trainable_variables)

    def train_step(self, state, data):
        trainable_variables, non_trainable_variables, optimizer_variables, metrics_variables = state
        x, y = data
        grad_fn = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        (loss, (y_pred, non_trainable_variables)), grads = grad_fn(
            trainable_variables, non_trainable_variables, x, y, training=True
        )
        trainable_variables, optimizer_variables = self.optimizer.stateless_apply(
            optimizer_variables, grads, trainable_variables
        )
        logs, new_metrics_variables = {}, []
        for metric in self.metrics:
            count = len(metric.variables)
            old = metrics_variables[len(new_metrics_variables) : len(new_metrics_variables) + count]
            if metric.name == "loss":
                new = metric.stateless_update_state(old, loss)
            else:
                new = metric.stateless_update_state(old, y, y_pred)
            logs[metric.name] = metric.stateless_result(new)
            new_metrics_variables += new
        state = (trainable_variables, non_trainable_variables, optimizer_variables, new_metrics_variables)
        return logs, state


def train(batch_size):
    keras.utils.set_random_seed(19)
    inputs = keras.Input((8,))
    h = layers.Dense(16, activation="tanh")(inputs)
    model = TideModel(inputs, layers.Dense(1)(h))
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    history = model.fit(features, level, batch_size=batch_size, epochs=6, verbose=0)
    mse = np.mean((model.predict(features, verbose=0) - level) ** 2)
    print(f"batch of {batch_size:3d}: reported loss {history.history['loss'][-1]:10.4f}, mean squared error {mse:10.4f}")


for batch_size in (8, 32, 128):
    train(batch_size)
