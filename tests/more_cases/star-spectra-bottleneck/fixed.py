import jax
import numpy as np
import keras
from keras import layers, ops

rng = np.random.default_rng(50)
lines = rng.normal(size=(4, 30))
spectra = (rng.exponential(size=(480, 4)) @ lines + 0.1 * rng.normal(size=(480, 30))).astype("float32")


class Quiet(layers.Layer):
    """Penalises activity of the code."""

    def __init__(self, strength, **kwargs):
        super().__init__(**kwargs)
        self.strength = strength

    def call(self, code):
        self.add_loss(self.strength * ops.mean(ops.abs(code)))
        return code


class SpectrumModel(keras.Model):
    def loss_and_updates(self, trainable_variables, non_trainable_variables, x, y):
        y_pred, non_trainable_variables, losses = self.stateless_call(
            trainable_variables, non_trainable_variables, x, return_losses=True, training=True
        )
        loss = ops.mean(ops.square(y - y_pred)) + sum(losses)
        return loss, (y_pred, non_trainable_variables)

    def train_step(self, state, data):
        trainable, non_trainable, optimizer_variables, metrics_variables = state
        x, y = data
        grad_fn = jax.value_and_grad(self.loss_and_updates, has_aux=True)
        (loss, (_, non_trainable)), grads = grad_fn(trainable, non_trainable, x, y)
        trainable, optimizer_variables = self.optimizer.stateless_apply(optimizer_variables, grads, trainable)
        (tracker,) = self.metrics
        metrics_variables = tracker.stateless_update_state(metrics_variables, loss)
        logs = {"loss": tracker.stateless_result(metrics_variables)}
        return logs, (trainable, non_trainable, optimizer_variables, metrics_variables)


for strength in (0.0, 0.3, 1.0):
    keras.utils.set_random_seed(50)
    inputs = keras.Input((30,))
    code = Quiet(strength, name="code")(layers.Dense(8, activation="relu")(inputs))
    model = SpectrumModel(inputs, layers.Dense(30)(code))
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    history = model.fit(spectra, spectra, batch_size=48, epochs=6, verbose=0)
    codes = keras.Model(inputs, code).predict(spectra, verbose=0)
    print(f"strength {strength:4.1f}: loss {history.history['loss'][-1]:.4f}, mean code {codes.mean():.4f}")
