# backends: tensorflow
"""A training loop by hand with GradientTape, tf.function and the losses of the layers."""

import numpy as np
import tensorflow as tf
import keras
from keras import layers, regularizers

keras.utils.set_random_seed(57)
rng = np.random.default_rng(57)
x = rng.normal(size=(330, 7)).astype("float32")
ph = (6.0 + x[:, :1] - 0.3 * x[:, 3:4]).astype("float32")

model = keras.Sequential(
    [
        layers.Input((7,)),
        layers.Dense(16, activation="relu", kernel_regularizer=regularizers.l2(1e-3)),
        layers.BatchNormalization(),
        layers.Dense(1),
    ]
)
loss_fn = keras.losses.Huber(delta=2.0)
optimizer = keras.optimizers.Adam(0.02)
metric = keras.metrics.MeanAbsoluteError()


@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        y_pred = model(x, training=True)
        loss = loss_fn(y, y_pred) + tf.add_n(model.losses)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    metric.update_state(y, y_pred)
    return loss


data = tf.data.Dataset.from_tensor_slices((x, ph)).shuffle(330, seed=0).batch(50)
for epoch in range(5):
    metric.reset_state()
    for batch_x, batch_y in data:
        loss = train_step(batch_x, batch_y)
    print("epoch", epoch + 1, "loss %.4f, mae %.4f" % (float(loss), float(metric.result())))
