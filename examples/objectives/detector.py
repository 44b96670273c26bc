"""Find the bright box in a picture, as YOLO does: one grid of predictions, three losses over it.

What people try: a "loss layer" whose output is the loss, with dummy targets and `lambda y_true, y_pred: y_pred`. Then
no metric, no sample weight and no prediction works without taking the model apart again. Here each part of the loss is
a term, weighted and logged under its own name, and the model gives what it should: the grid.
"""

import keras
import numpy as np
from keras import layers, ops

import lossproof as lp

SIZE, CELLS = 24, 4
CELL = SIZE // CELLS


def make_data(n=400):
    """Pictures (n, SIZE, SIZE, 1) and grids (n, CELLS, CELLS, 5): offset x, y, width, height, whether there is a box."""
    rng = np.random.default_rng(8)
    pictures = 0.1 * rng.random((n, SIZE, SIZE, 1))
    grids = np.zeros((n, CELLS, CELLS, 5))
    for picture, grid in zip(pictures, grids, strict=True):
        width, height = rng.integers(4, 9, 2)
        left, top = rng.integers(0, SIZE - width), rng.integers(0, SIZE - height)
        picture[top : top + height, left : left + width] += 0.8
        column, row = (left + width / 2) / CELL, (top + height / 2) / CELL
        offset = (column % 1, row % 1, width / SIZE, height / SIZE)
        grid[int(row), int(column)] = (*offset, 1.0)
    return pictures.astype("float32"), grids.astype("float32")


def build_model():
    pictures = keras.Input((SIZE, SIZE, 1), name="picture")
    h = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(pictures)
    h = layers.Conv2D(16, 3, strides=3, padding="same", activation="relu")(h)
    h = layers.Conv2D(16, 3, padding="same", activation="relu")(h)
    return keras.Model(pictures, layers.Conv2D(5, 1, name="grid")(h))


def box(y_true, y_pred):
    """Squared error of offsets and of the roots of the sizes, in cells with a box: shape (batch,)."""
    place = ops.square(ops.sigmoid(y_pred[..., :2]) - y_true[..., :2])
    size = ops.square(ops.sqrt(ops.sigmoid(y_pred[..., 2:4])) - ops.sqrt(y_true[..., 2:4]))
    return ops.sum(y_true[..., 4:] * (place + size), axis=(1, 2, 3))


def objectness(y_true, y_pred):
    """Cross-entropy of each cell, shape (batch, CELLS, CELLS)."""
    return keras.losses.binary_crossentropy(y_true[..., 4:], y_pred[..., 4:], from_logits=True)


def found(y_true, y_pred):
    """In cells with a box: shape (batch,)."""
    return ops.sum(y_true[..., 4] * objectness(y_true, y_pred), axis=(1, 2))


def nothing_there(y_true, y_pred):
    """In cells without one: shape (batch,)."""
    return ops.sum((1.0 - y_true[..., 4]) * objectness(y_true, y_pred), axis=(1, 2))


def make_objective():
    return lp.Objective([lp.Term(box, weight=5.0), lp.Term(found), lp.Term(nothing_there, weight=0.5)])


def main():
    keras.utils.set_random_seed(3)
    pictures, grids = make_data()
    model = build_model()
    trainer = lp.Trainer(model, make_objective())
    trainer.compile(keras.optimizers.Adam(0.01))
    history = trainer.fit(pictures, grids, epochs=8, batch_size=40, verbose=0).history
    for name, values in history.items():
        print(f"{name:14s} {values[0]:.4f} -> {values[-1]:.4f}")
    seen = model.predict(pictures, verbose=0)[..., 4].reshape(len(pictures), -1).argmax(1)
    print(f"box in the right cell: {np.mean(seen == grids[..., 4].reshape(len(pictures), -1).argmax(1)):.0%}")


if __name__ == "__main__":
    main()
