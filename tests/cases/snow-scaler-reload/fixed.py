import os
import tempfile

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(101)
rng = np.random.default_rng(101)

# snow water equivalent in mm, stations between 20 and 1800 mm
x = rng.normal(size=(600, 5)).astype("float32")
swe = (700 + 300 * x[:, :1] + 80 * x[:, 1:2] ** 2 + 30 * rng.normal(size=(600, 1))).astype("float32")


@keras.saving.register_keras_serializable("snow")
class SnowModel(keras.Model):
    """Works on standardised targets inside, predicts standardised values."""

    def __init__(self, units=32, y_mean=0.0, y_std=1.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = layers.Dense(units, activation="relu")
        self.out = layers.Dense(1)
        self.y_mean, self.y_std = y_mean, y_std

    def set_target_scale(self, y):
        self.y_mean, self.y_std = float(np.mean(y)), float(np.std(y))

    def call(self, x):
        return self.out(self.hidden(x))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        y = (ops.cast(y, "float32") - self.y_mean) / self.y_std
        return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "y_mean": self.y_mean, "y_std": self.y_std}


model = SnowModel()
model.set_target_scale(swe)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
model.fit(x, swe, batch_size=50, epochs=20, verbose=0)
print("loss at the end of the first season", float(model.evaluate(x, swe, verbose=0)))

path = os.path.join(tempfile.mkdtemp(), "snow.keras")
model.save(path)
again = keras.saving.load_model(path)
print("loss of the loaded model", float(again.evaluate(x, swe, verbose=0)))
again.fit(x, swe, batch_size=50, epochs=2, verbose=0)
print("after two more epochs: mean output", float(again.predict(x, verbose=0).mean()))
