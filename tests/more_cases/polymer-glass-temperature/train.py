import numpy as np
import tensorflow as tf
import keras
from keras import layers, regularizers

rng = np.random.default_rng(46)
# few polymers, many descriptors: a case for weight decay
x = rng.normal(size=(90, 40)).astype("float32")
w = np.zeros((40, 1))
w[:4] = [[1.0], [-0.7], [0.5], [0.4]]
y = (x @ w + 0.4 * rng.normal(size=(90, 1))).astype("float32")
x_new = rng.normal(size=(500, 40)).astype("float32")
y_new = x_new @ w


class TemperatureModel(keras.Model):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = keras.losses.MeanSquaredError()(y, y_pred)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


for strength in (0.0, 0.01, 0.1):
    keras.utils.set_random_seed(46)
    inputs = keras.Input((40,))
    h = layers.Dense(32, activation="relu", kernel_regularizer=regularizers.l2(strength))(inputs)
    outputs = layers.Dense(1, kernel_regularizer=regularizers.l2(strength))(h)
    model = TemperatureModel(inputs, outputs)
    model.compile(optimizer=keras.optimizers.Adam(0.005))
    history = model.fit(x, y, batch_size=30, epochs=25, verbose=0)
    norm = sum(float(tf.reduce_sum(tf.square(v))) for v in model.trainable_variables if v.name == "kernel")
    error = np.mean((model.predict(x_new, verbose=0) - y_new) ** 2)
    print(f"l2={strength}: loss {history.history['loss'][-1]:.4f}, squared weights {norm:.2f}, error on new polymers {error:.3f}")
