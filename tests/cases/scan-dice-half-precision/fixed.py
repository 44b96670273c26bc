import numpy as np
import keras
from keras import layers, ops

keras.mixed_precision.set_global_policy("mixed_float16")
keras.utils.set_random_seed(64)
rng = np.random.default_rng(64)

# organs fill about half of a 288 x 288 scan
n, size = 24, 288
yy, xx = np.mgrid[0:size, 0:size] / size
masks = np.zeros((n, size, size, 1), "float32")
for i in range(n):
    cy, cx, r = rng.uniform(0.45, 0.55), rng.uniform(0.45, 0.55), rng.uniform(0.42, 0.55)
    masks[i, ..., 0] = (yy - cy) ** 2 + (xx - cx) ** 2 < r**2
scans = (masks + rng.normal(0, 0.5, size=masks.shape)).astype("float32")


class ScanModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.features = layers.Conv2D(4, 3, padding="same", activation="relu")
        self.out = layers.Conv2D(1, 1, activation="sigmoid")

    def call(self, inputs):
        return self.out(self.features(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        y, y_pred = ops.cast(y, "float32"), ops.cast(y_pred, "float32")
        axes = (1, 2, 3)
        overlap = ops.sum(y * y_pred, axis=axes)
        dice = (2.0 * overlap + 1.0) / (ops.sum(y, axis=axes) + ops.sum(y_pred, axis=axes) + 1.0)
        return 1.0 - ops.mean(dice)


model = ScanModel()
model.compile(optimizer=keras.optimizers.Adam(1e-2))
history = model.fit(scans, masks, batch_size=8, epochs=4, verbose=0)
print("loss", history.history["loss"])
p = model.predict(scans, verbose=0).astype("float64")
dice = (2 * (p * masks).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
print("1 - dice by numpy %.4f" % (1 - dice.mean()))
