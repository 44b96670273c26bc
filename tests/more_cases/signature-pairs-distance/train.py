import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(18)

rng = np.random.default_rng(18)
writers = rng.normal(size=(12, 16))


def pairs(batch_size, seed):
    """Pairs of signatures: 1 = same writer. A genuine pair may hold the same scan twice."""
    rng = np.random.default_rng(seed)
    while True:
        who = rng.integers(0, 12, size=(batch_size, 2))
        same = rng.random(batch_size) < 0.5
        who[same, 1] = who[same, 0]
        scans = writers[who] + 0.4 * rng.normal(size=(batch_size, 2, 16))
        again = same & (rng.random(batch_size) < 0.2)
        scans[again, 1] = scans[again, 0]
        label = (who[:, 0] == who[:, 1]).astype("float32")[:, None]
        yield (scans[:, 0].astype("float32"), scans[:, 1].astype("float32")), label


def contrastive(margin):
    def loss(y_true, y_pred):
        left, right = ops.split(y_pred, 2, axis=-1)
        distance = ops.sqrt(ops.sum(ops.square(left - right), axis=-1, keepdims=True))
        return y_true * ops.square(distance) + (1.0 - y_true) * ops.square(ops.maximum(margin - distance, 0.0))

    return loss


encoder = keras.Sequential([layers.Input((16,)), layers.Dense(32, activation="relu"), layers.Dense(6)])
first, second = keras.Input((16,)), keras.Input((16,))
model = keras.Model([first, second], layers.Concatenate()([encoder(first), encoder(second)]))
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=contrastive(margin=2.0))
history = model.fit(pairs(40, 0), steps_per_epoch=15, epochs=4, verbose=0)
print("loss", np.round(history.history["loss"], 4))

x, label = next(pairs(400, 1))
left, right = np.split(model.predict(x, verbose=0), 2, axis=-1)
distance = np.linalg.norm(left - right, axis=-1)
print("mean distance: same writer %.3f, other writer %.3f" % (distance[label[:, 0] == 1].mean(), distance[label[:, 0] == 0].mean()))
