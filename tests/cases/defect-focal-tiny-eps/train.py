import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(67)
rng = np.random.default_rng(67)

# scratches on glass: 3 % of the panes; sensor values as they come, up to some tens
n = 1500
y = (rng.random(n) < 0.03).astype("float32")[:, None]
x = (15 * rng.normal(size=(n, 10)) + 20 * y).astype("float32")


def focal_loss(y_true, y_pred, gamma=2.0, alpha=0.25):
    eps = 1e-12
    y_pred = ops.clip(y_pred, eps, 1.0 - eps)
    positive = -alpha * ops.power(1.0 - y_pred, gamma) * y_true * ops.log(y_pred)
    negative = -(1 - alpha) * ops.power(y_pred, gamma) * (1 - y_true) * ops.log(1.0 - y_pred)
    return ops.mean(positive + negative, axis=-1)


model = keras.Sequential([layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1, activation="sigmoid")])
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=focal_loss)
history = model.fit(x, y, batch_size=32, epochs=3, verbose=0)
print("loss", history.history["loss"])
print("largest probability", model.predict(x, verbose=0).max())
