# backends: tensorflow
"""Physics-informed network: the residual of u'' + u = 0 by two nested tapes, in a custom train_step."""

import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(39)
t = np.linspace(0, 3, 96, dtype="float32")[:, None]


class Oscillator(keras.Model):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.loss_tracker]

    def train_step(self, data):
        t = data
        zero = tf.zeros((1, 1))
        with tf.GradientTape() as weights_tape:
            with tf.GradientTape() as second:
                second.watch(t)
                with tf.GradientTape() as first:
                    first.watch(t)
                    u = self(t, training=True)
                du = first.gradient(u, t)
            ddu = second.gradient(du, t)
            with tf.GradientTape() as start:
                start.watch(zero)
                u0 = self(zero, training=True)
            du0 = start.gradient(u0, zero)
            residual = tf.reduce_mean(tf.square(ddu + u))
            loss = residual + tf.reduce_mean(tf.square(u0 - 1.0)) + tf.reduce_mean(tf.square(du0))
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(weights_tape.gradient(loss, variables), variables))
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


inputs = keras.Input((1,))
h = layers.Dense(16, activation="tanh")(inputs)
model = Oscillator(inputs, layers.Dense(1, use_bias=False)(layers.Dense(16, activation="tanh")(h)))
model.compile(optimizer=keras.optimizers.Adam(5e-3))
history = model.fit(t, batch_size=32, epochs=30, verbose=0).history["loss"]
print("loss", np.round(history[::10], 4))
