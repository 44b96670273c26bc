import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(66)
rng = np.random.default_rng(66)


def quaternions(angle, axis):
    axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    return np.concatenate([np.cos(angle / 2), np.sin(angle / 2) * axis], axis=1)


# attitude of a drone from its nine raw sensors; a fifth of the log is the drone standing on the ground
n = 500
angle = rng.uniform(0.1, 1.2, size=(n, 1))
axis = rng.normal(size=(n, 3))
grounded = rng.random(n) < 0.2
angle[grounded] = 0.0
attitude = quaternions(angle, axis).astype("float32")
sensors = attitude[:, 1:] @ rng.normal(size=(3, 9)) + 0.02 * rng.normal(size=(n, 9))
sensors[grounded] = 0.0                                       # sensors sleep on the ground
sensors = sensors.astype("float32")


class UnitQuaternion(layers.Layer):
    def call(self, v):
        w = ops.ones_like(v[:, :1])
        q = ops.concatenate([w, v], axis=-1)
        return q / ops.sqrt(ops.sum(ops.square(q), axis=-1, keepdims=True))


def geodesic(q_true, q_pred):
    dot = ops.abs(ops.sum(q_true * q_pred, axis=-1))
    return 2.0 * ops.arccos(ops.clip(dot, 0.0, 1.0 - 1e-6))


model = keras.Sequential(
    [layers.Input((9,)), layers.Dense(32, activation="tanh"), layers.Dense(3), UnitQuaternion()]
)
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=geodesic)
print("before training %.4f rad" % model.evaluate(sensors, attitude, verbose=0))
history = model.fit(sensors, attitude, batch_size=50, epochs=20, verbose=0)
print("loss", np.round(history.history["loss"][::4], 4))

q = model.predict(sensors, verbose=0)
err = 2 * np.arccos(np.clip(np.abs((q * attitude).sum(1)), 0, 1))
print("flying %.4f rad, on the ground %.4f rad" % (err[~grounded].mean(), err[grounded].mean()))
