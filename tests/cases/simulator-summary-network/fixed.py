import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(25)
rng = np.random.default_rng(25)

# simulator: 2 parameters -> 12 noisy readings. Learn the posterior mean and scale of the parameters.
n = 1500
theta = rng.normal(size=(n, 2)).astype("float32")
readings = np.stack([theta[:, 0] * np.cos(0.3 * k) + theta[:, 1] * np.sin(0.3 * k) for k in range(12)], axis=-1)
readings = (readings + 0.3 * rng.normal(size=readings.shape)).astype("float32")


class CompactDense(layers.Dense):
    """Dense layer whose outputs, the summary statistics, are kept small."""

    def __init__(self, units, strength=0.0, **kwargs):
        super().__init__(units, **kwargs)
        self.strength = strength

    def call(self, inputs, training=None):
        s = super().call(inputs)
        self.add_loss(self.strength * ops.mean(ops.sum(ops.square(s), axis=-1)))
        return s

    def get_config(self):
        return {**super().get_config(), "strength": self.strength}


class Approximator(keras.Model):
    def __init__(self, strength, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(32, activation="relu")
        self.summary_net = CompactDense(4, strength=strength)
        self.inference = layers.Dense(32, activation="relu")
        self.head = layers.Dense(4)

    def call(self, x, training=None):
        s = self.summary_net(self.hidden(x), training=training)
        mean, log_scale = ops.split(self.head(self.inference(s)), 2, axis=-1)
        return {"mean": mean, "log_scale": log_scale}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        z = (y - y_pred["mean"]) * ops.exp(-y_pred["log_scale"])
        nll = ops.sum(0.5 * ops.square(z) + y_pred["log_scale"], axis=-1)
        return ops.mean(nll) + sum(self.losses)


def run(strength):
    keras.utils.set_random_seed(25)
    model = Approximator(strength)
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    history = model.fit(readings, theta, batch_size=50, epochs=12, verbose=0)
    s = keras.ops.convert_to_numpy(model.summary_net(model.hidden(readings)))
    return history.history["loss"][-1], np.square(s).sum(axis=-1).mean()


for strength in (0.0, 0.1, 10.0):
    loss, size = run(strength)
    print("strength %5.1f  loss %.5f  mean squared length of the summaries %.5f" % (strength, loss, size))
