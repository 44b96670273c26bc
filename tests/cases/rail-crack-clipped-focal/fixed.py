import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(68)
rng = np.random.default_rng(68)

# cracks in rails from ultrasound echoes in raw counts, around 200
n = 1200
y = (rng.random(n) < 0.3).astype("float32")[:, None]
x = (200 + 40 * rng.normal(size=(n, 12)) + 80 * (y - 0.5) * (np.arange(12) < 6)).astype("float32")


def focal(y_true, y_pred, alpha=0.5, gamma=2.0):
    p = ops.sigmoid(y_pred)
    p_t = y_true * p + (1 - y_true) * (1 - p)
    cross_entropy = ops.softplus(y_pred) - y_true * y_pred
    return ops.mean(alpha * ops.power(1.0 - p_t, gamma) * cross_entropy, axis=-1)


model = keras.Sequential([layers.Input((12,)), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=focal, metrics=[keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)])
history = model.fit(x, y, batch_size=32, epochs=15, verbose=0)
print("loss", np.round(history.history["loss"], 3))
print("accuracy", np.round(history.history["accuracy"], 3))
