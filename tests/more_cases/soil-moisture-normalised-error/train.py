import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(30)
rng = np.random.default_rng(30)

bands = rng.normal(size=(321, 7)).astype("float32")
moisture = (0.2 + 0.05 * bands[:, :1] - 0.03 * bands[:, 4:5] + 0.005 * rng.normal(size=(321, 1))).astype("float32")


def normalised_error(y_true, y_pred):
    """Mean squared error in units of the variance of the targets: 1 means no better than the mean."""
    return ops.mean(ops.square(y_true - y_pred), axis=-1) / ops.var(y_true)


model = keras.Sequential([layers.Input((7,)), layers.Dense(16, activation="tanh"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=normalised_error, metrics=["mae"])
history = model.fit(bands, moisture, batch_size=32, epochs=6, verbose=0)
print("loss", np.round(history.history["loss"], 4))
print("mae", np.round(history.history["mae"], 4))
