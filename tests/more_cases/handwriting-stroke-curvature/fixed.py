import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(60)
rng = np.random.default_rng(60)

style = rng.normal(size=(400, 6)).astype("float32")
t = np.linspace(0, 1, 20)
stroke = style[:, :1] * np.sin(2 * np.pi * t) + style[:, 1:2] * t + 0.5 * rng.normal(size=(400, 20))
stroke = stroke.astype("float32")


def position(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def bending(y_true, y_pred):
    second = y_pred[:, 2:] - 2.0 * y_pred[:, 1:-1] + y_pred[:, :-2]
    return ops.mean(ops.square(second), axis=-1)


def stroke_loss(y_true, y_pred):
    return position(y_true, y_pred) + 5.0 * bending(y_true, y_pred)


model = keras.Sequential([layers.Input((6,)), layers.Dense(32, activation="relu"), layers.Dense(20)])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=stroke_loss)

for step in range(150):
    rows = rng.integers(0, 400, 50)
    loss = model.train_on_batch(style[rows], stroke[rows])
found = model.predict(style, verbose=0)
print("loss of the last batch", np.round(np.ravel([ops.convert_to_numpy(part) for part in np.atleast_1d(loss)]), 4))
print("position error %.4f" % np.mean((found - stroke) ** 2))
print("bending %.4f" % np.mean(np.diff(found, n=2, axis=1) ** 2))
