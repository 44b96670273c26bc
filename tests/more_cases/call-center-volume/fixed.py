import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(22)
rng = np.random.default_rng(22)

hour = rng.integers(0, 24, 640)
weekday = rng.integers(0, 7, 640)
rate = 4.0 + 6.0 * np.exp(-0.5 * ((hour - 11) / 3.0) ** 2) - 2.0 * (weekday >= 5)
calls = rng.poisson(rate)[:, None].astype("float32")
x = np.concatenate([np.eye(24)[hour], np.eye(7)[weekday]], axis=1).astype("float32")


class CallModel(keras.Model):
    """Trained on the expected count; it is rounded where it is reported."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.loss_tracker]

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            expected = self(x, training=True)
            loss = tf.reduce_mean(tf.abs(y - expected))
        grads = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables))
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


inputs = keras.Input((31,))
h = layers.Dense(16, activation="relu")(inputs)
model = CallModel(inputs, layers.Dense(1, activation="softplus")(h))
model.compile(optimizer=keras.optimizers.Adam(0.02))
model.fit(x, calls, batch_size=64, epochs=10, verbose=2)
print("mean absolute error of rounded forecasts", np.abs(np.round(model.predict(x, verbose=0)) - calls).mean())
