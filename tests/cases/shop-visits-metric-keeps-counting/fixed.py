import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(73)
rng = np.random.default_rng(73)


class WithinTen(keras.metrics.Metric):
    """Share of forecasts within 10 % of the truth."""

    def __init__(self, name="within_ten", **kwargs):
        super().__init__(name=name, **kwargs)
        self.hits = 0.0
        self.total = 0.0

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = ops.convert_to_numpy(y_true), ops.convert_to_numpy(y_pred)
        self.hits += float((np.abs(y_pred - y_true) <= 0.1 * np.abs(y_true)).sum())
        self.total += y_true.size

    def result(self):
        return self.hits / max(self.total, 1.0)

    def reset_state(self):
        self.hits = 0.0
        self.total = 0.0


# visitors per day of a shop
x = rng.normal(size=(800, 7)).astype("float32")
y = (20 + 4 * x[:, :1] - 3 * x[:, 1:2]).astype("float32")
model = keras.Sequential([layers.Input((7,)), layers.Dense(32, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse", metrics=[WithinTen()], run_eagerly=True)
history = model.fit(x[:600], y[:600], batch_size=50, epochs=10, verbose=0)
print("within 10 % during training", np.round(history.history["within_ten"], 3))
print("evaluate  %.3f" % model.evaluate(x[600:], y[600:], verbose=0)[1])
p = model.predict(x[600:], verbose=0)
print("by numpy  %.3f" % (np.abs(p - y[600:]) <= 0.1 * y[600:]).mean())
