import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(50)
rng = np.random.default_rng(50)

# one reading in 25 is a fire
n = 2000
y = (rng.random(n) < 0.04).astype("float32")
x = (rng.normal(size=(n, 6)) + 1.2 * y[:, None] * np.array([1, 1, 0, 0, 1, 0])).astype("float32")
y = y[:, None]


def recall(y_true, y_pred):
    hits = ops.sum(ops.round(y_pred) * y_true)
    return hits / (ops.sum(y_true) + keras.config.epsilon())


model = keras.Sequential([layers.Input((6,)), layers.Dense(16, activation="relu"), layers.Dense(1, activation="sigmoid")])
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="binary_crossentropy", metrics=[recall])
model.fit(x[:1400], y[:1400], batch_size=16, epochs=8, verbose=0)

loss, reported = model.evaluate(x[1400:], y[1400:], batch_size=16, verbose=0)
called = model.predict(x[1400:], verbose=0) > 0.5
print("recall by evaluate: %.3f" % reported)
print("recall by numpy:    %.3f" % called[y[1400:] == 1].mean())
