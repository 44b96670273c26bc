import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
from keras import layers

keras.utils.set_random_seed(63)
rng = np.random.default_rng(63)

x = rng.normal(size=(512, 6)).astype("float32")
y = (x @ rng.normal(size=(6, 1)) + 0.1 * rng.normal(size=(512, 1))).astype("float32")


class OwnStep(keras.Model):
    """Two losses for one output, each with its own object, as in the paper."""

    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(16, activation="tanh")
        self.out = layers.Dense(1)
        self.mse = keras.losses.MeanSquaredError(reduction=None)
        self.mae = keras.losses.MeanAbsoluteError(reduction=None)
        self.loss_metric = keras.metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.loss_metric]

    def call(self, inputs):
        return self.out(self.hidden(inputs))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = tf.reduce_mean(self.mse(y, y_pred)) + 0.1 * tf.reduce_mean(self.mae(y, y_pred))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        self.loss_metric.update_state(loss)
        return {"loss": self.loss_metric.result()}


def train(strategy):
    keras.utils.set_random_seed(63)
    with strategy.scope():
        model = OwnStep()
        model(x[:1])
        model.compile(optimizer=keras.optimizers.SGD(0.05))
    before = [w.copy() for w in model.get_weights()]
    history = model.fit(x, y, batch_size=64, epochs=1, shuffle=False, steps_per_epoch=1, verbose=0)
    step = sum(float(np.abs(a - b).sum()) for a, b in zip(before, model.get_weights()))
    return history.history["loss"][0], step


print("one device : loss %.4f, first step %.5f" % train(tf.distribute.OneDeviceStrategy("/cpu:0")))
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
print("two devices: loss %.4f, first step %.5f" % train(strategy))
