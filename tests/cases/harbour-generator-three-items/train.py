import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(61)
rng = np.random.default_rng(61)

# ships in a harbour: waiting time and fuel burnt while waiting, both from 8 numbers
n = 960
x = rng.normal(size=(n, 8)).astype("float32")
waiting = np.exp(0.5 * x[:, :1] + 0.3 * x[:, 1:2])
fuel = 2 * waiting + np.abs(x[:, 2:3])


def batches(size=32):
    while True:
        for i in range(0, n, size):
            rows = slice(i, i + size)
            yield x[rows], waiting[rows], fuel[rows]


inputs = keras.Input((8,), name="main_input")
h = layers.Dense(24, activation="relu")(inputs)
main = layers.Dense(1, name="waiting")(h)
aux = layers.Dense(1, name="fuel")(h)
model = keras.Model(inputs, [main, aux])
model.compile(optimizer="rmsprop", loss=["mae", "mae"], loss_weights=[1.0, 0.2])
history = model.fit(batches(), steps_per_epoch=30, epochs=5, verbose=0)
print({key: round(values[-1], 3) for key, values in history.history.items()})
