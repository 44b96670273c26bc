# targets: real x 1
# backends: tensorflow
"""A train_step and a test_step of the model's own, with dropout, regularizers, sample weights and a tracker."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
import tensorflow as tf

x = rng.normal(size=(64, 4)).astype("float32")
y = (x[:, :1] + 0.3 * rng.normal(size=(64, 1))).astype("float32")
importance = rng.uniform(0.2, 1.8, size=64).astype("float32")


class Forecast(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(8, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.02))
        self.dropout = layers.Dropout(0.3, seed=5)
        self.out = layers.Dense(1)
        self.squared = keras.losses.MeanSquaredError()
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.tracker]

    def call(self, inputs, training=None):
        return self.out(self.dropout(self.hidden(inputs), training=training))

    def objective(self, x, y, sample_weight):
        y_pred = self(x, training=True)
        return self.squared(y, y_pred, sample_weight=sample_weight) + sum(self.losses)

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.objective(x, y, sample_weight)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        loss = self.squared(y, self(x, training=False), sample_weight=sample_weight)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


model = Forecast()
model.compile(optimizer=keras.optimizers.SGD(0.05))
model.fit(x, y, sample_weight=importance, batch_size=16, epochs=2, verbose=0)
model.evaluate(x, y, verbose=0)
