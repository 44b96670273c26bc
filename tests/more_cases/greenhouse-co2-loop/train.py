import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(68)
rng = np.random.default_rng(68)

climate = rng.normal(size=(480, 6)).astype("float32")
co2 = (0.8 * climate[:, 0] - 0.5 * climate[:, 2] + 0.1 * rng.normal(size=480)).astype("float32")


class Pseudohuber(keras.losses.Loss):
    """Quadratic for small errors, linear for large ones, smooth in between."""

    def __init__(self, width=0.5, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def call(self, y_true, y_pred):
        scaled = (y_pred - y_true) / self.width
        return self.width**2 * (tf.sqrt(1.0 + tf.square(scaled)) - 1.0)


model = keras.Sequential([layers.Input((6,)), layers.Dense(24, activation="relu"), layers.Dense(1)])
optimizer = keras.optimizers.Adam(0.01)
loss_fn = Pseudohuber()
batches = tf.data.Dataset.from_tensor_slices((climate, co2)).shuffle(480, seed=0).batch(48)


@tf.function
def step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_fn(y, model(x, training=True))
    variables = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss


for epoch in range(15):
    losses = [float(step(x, y)) for x, y in batches]
    if epoch % 7 == 0:
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}")
predicted = model.predict(climate, verbose=0)[:, 0]
print("correlation of prediction and measurement %.3f" % np.corrcoef(predicted, co2)[0, 1])
print("spread of the predictions %.3f, of the measurements %.3f" % (predicted.std(), co2.std()))
