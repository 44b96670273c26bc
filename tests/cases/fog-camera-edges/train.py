import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(91)
rng = np.random.default_rng(91)

# foggy road camera frames (input, float) and clear frames (target, as read from the PNG files)
n, size = 160, 16
clear = np.full((n, size, size, 1), 60.0)
for i in range(n):
    for _ in range(3):
        r, c, h, w = rng.integers(0, 12, 2).tolist() + rng.integers(3, 9, 2).tolist()
        clear[i, r : r + h, c : c + w] = rng.integers(80, 230)
fog = rng.uniform(0.5, 0.6, (n, 1, 1, 1))
foggy = ((1 - fog) * clear + fog * 235 + rng.normal(0, 2, clear.shape)).astype("float32") / 255.0
clear = clear.astype("uint8")


class Defogger(keras.Model):
    def __init__(self, edge_weight=2.0):
        super().__init__()
        self.edge_weight = edge_weight
        self.net = keras.Sequential(
            [
                layers.Conv2D(12, 3, padding="same", activation="relu"),
                layers.Conv2D(12, 3, padding="same", activation="relu"),
                layers.Conv2D(1, 1),
            ]
        )

    def call(self, x):
        return 255.0 * self.net(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        pixel = ops.mean(ops.abs(y_pred - ops.cast(y, "float32")))
        dy_true = y[:, 1:] - y[:, :-1]
        dx_true = y[:, :, 1:] - y[:, :, :-1]
        dy_pred = y_pred[:, 1:] - y_pred[:, :-1]
        dx_pred = y_pred[:, :, 1:] - y_pred[:, :, :-1]
        edges = ops.mean(ops.abs(dy_pred - ops.cast(dy_true, "float32"))) + ops.mean(
            ops.abs(dx_pred - ops.cast(dx_true, "float32"))
        )
        return pixel + self.edge_weight * edges


model = Defogger()
model.compile(optimizer=keras.optimizers.Adam(0.01))
history = model.fit(foggy, clear, batch_size=16, epochs=14, verbose=0)
print("loss", [round(v, 2) for v in history.history["loss"][::4]])
pred = model.predict(foggy, verbose=0)
truth = clear.astype("float32")
print("mean absolute error", float(np.abs(pred - truth).mean()))
dt, dp = np.diff(truth, axis=2), np.diff(pred, axis=2)
print("vertical edges: true mean step up %.1f down %.1f" % (dt[dt > 5].mean(), dt[dt < -5].mean()))
print("              restored at the same place up %.1f down %.1f" % (dp[dt > 5].mean(), dp[dt < -5].mean()))
