# backends: tensorflow
"""A loss decorated with tf.function that reads a tf constant and a Python float; partial binds one argument."""

import functools

import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(61)
rng = np.random.default_rng(61)
ping = rng.normal(size=(320, 8)).astype("float32")
depth = (ping[:, :3] + 0.1 * rng.normal(size=(320, 3))).astype("float32")

channel_weight = tf.constant([1.0, 2.0, 0.5])


@tf.function
def channel_error(y_true, y_pred, floor):
    error = tf.maximum(tf.abs(y_true - y_pred) - floor, 0.0)
    return tf.reduce_sum(channel_weight * tf.square(error), axis=-1)


model = keras.Sequential([layers.Input((8,)), layers.Dense(24, activation="relu"), layers.Dense(3)])
model.compile(optimizer="adam", loss=functools.partial(channel_error, floor=0.05))
data = tf.data.Dataset.from_tensor_slices((ping, depth)).batch(50)
history = model.fit(data, epochs=5, verbose=0).history["loss"]
print("loss", np.round(history, 4))
