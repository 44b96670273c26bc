# targets: boxes
"""YOLO-style: a grid of cells with an object or none, its box and its class."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

grid, kinds = 3, 2
images = rng.normal(size=(36, 12, 12, 1)).astype("float32")
there = (rng.random((36, grid, grid, 1)) < 0.4).astype("float32")
box = rng.uniform(0.1, 0.9, size=(36, grid, grid, 4)).astype("float32")
kind = np.eye(kinds, dtype="float32")[rng.integers(0, kinds, size=(36, grid, grid))]
cells = np.concatenate([there, there * box, there * kind], axis=-1).astype("float32")


def detection(y_true, y_pred):
    there = y_true[..., 0]
    center = ops.sum(ops.square(y_true[..., 1:3] - ops.sigmoid(y_pred[..., 1:3])), axis=-1)
    wanted, got = ops.sqrt(y_true[..., 3:5] + 1e-6), ops.sqrt(ops.exp(y_pred[..., 3:5]) + 1e-6)
    size = ops.sum(ops.square(wanted - got), axis=-1)
    found = keras.losses.binary_crossentropy(y_true[..., :1], y_pred[..., :1], from_logits=True)
    kinds = keras.losses.categorical_crossentropy(y_true[..., 5:], y_pred[..., 5:], from_logits=True)
    cell = there * (5.0 * center + 5.0 * size + kinds) + (there + 0.5 * (1.0 - there)) * found
    return ops.sum(cell, axis=(1, 2))


model = keras.Sequential([keras.Input((12, 12, 1)), layers.Conv2D(4, 4, strides=4, activation="relu"), layers.Conv2D(7, 1)])
model.compile(optimizer=keras.optimizers.SGD(0.01), loss=detection)
model.fit(images, cells, batch_size=9, verbose=0)
