import os
import tempfile
import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(40)
rng = np.random.default_rng(40)

HOURS = 24


@keras.saving.register_keras_serializable(package="tide")
class TideForecaster(keras.Model):
    """Forecast of a day; neighbouring hours must not jump."""

    def __init__(self, units=32, smoothness=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.smoothness = smoothness
        self.hidden = layers.Dense(units, activation="tanh")
        self.head = layers.Dense(HOURS)

    def call(self, inputs):
        return self.head(self.hidden(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        jumps = y_pred[:, 1:] - y_pred[:, :-1]
        return loss + self.smoothness * ops.mean(ops.square(jumps))

    def get_config(self):
        config = super().get_config()
        config.update({"units": self.units, "smoothness": self.smoothness})
        return config


def gauge(count):
    moon = rng.normal(size=(count, 6)).astype("float32")
    t = np.arange(HOURS) / HOURS * 2 * np.pi
    level = moon[:, :1] * np.sin(2 * t) + moon[:, 1:2] * np.cos(2 * t)
    return moon, (level + 0.8 * rng.normal(size=level.shape)).astype("float32")


moon, level = gauge(200)
model = TideForecaster(units=32, smoothness=5.0)
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse")
model.fit(moon, level, batch_size=40, epochs=20, verbose=0)


def roughness(m):
    return np.mean(np.diff(m.predict(moon, verbose=0), axis=1) ** 2)


print("evaluate %.4f, roughness of the forecasts %.4f" % (model.evaluate(moon, level, verbose=0), roughness(model)))
path = os.path.join(tempfile.mkdtemp(), "tide.keras")
model.save(path)

again = keras.saving.load_model(path)
print("after loading: evaluate %.4f, roughness %.4f" % (again.evaluate(moon, level, verbose=0), roughness(again)))
again.fit(moon, level, batch_size=40, epochs=20, verbose=0)
print("trained on: evaluate %.4f, roughness %.4f" % (again.evaluate(moon, level, verbose=0), roughness(again)))
