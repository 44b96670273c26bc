import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(66)
rng = np.random.default_rng(66)

trips = rng.normal(size=(600, 5)).astype("float32")
tip = (3.0 + 1.5 * trips[:, 0] - trips[:, 1] + 0.2 * rng.normal(size=600)).astype("float32")


def dollars_off(y_true, y_pred):
    return ops.abs(y_true - y_pred)


def squared_dollars_off(y_true, y_pred):
    return ops.square(dollars_off(y_true, y_pred))


model = keras.Sequential([layers.Input((5,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=squared_dollars_off, metrics=[dollars_off])
model.fit(trips[:500], tip[:500], validation_data=(trips[500:], tip[500:]), batch_size=50, epochs=15, verbose=0)

loss, off = model.evaluate(trips[500:], tip[500:], batch_size=100, verbose=0)
by_hand = np.abs(model.predict(trips[500:], verbose=0)[:, 0] - tip[500:]).mean()
print(f"loss {loss:.4f}, dollars off as reported {off:.4f}, by numpy {by_hand:.4f}")
