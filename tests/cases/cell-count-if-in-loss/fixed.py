import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(66)
rng = np.random.default_rng(66)

# number of cells on a slide; far off means gross error, near means fine tuning
x = rng.normal(size=(640, 10)).astype("float32")
y = np.exp(1.0 + 0.5 * x[:, :1] + 0.2 * x[:, 1:2]).astype("float32")


def count_loss(y_true, y_pred):
    error = ops.abs(y_true - y_pred)
    return ops.mean(ops.where(error > 1.0, 2 * error - 1, ops.square(error)), axis=-1)


model = keras.Sequential([layers.Input((10,)), layers.Dense(32, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=count_loss)
history = model.fit(x, y, batch_size=32, epochs=8, verbose=0)
print("loss", np.round(history.history["loss"], 3))
