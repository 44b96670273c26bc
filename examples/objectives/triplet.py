"""Place digits so that equal ones are close: a triplet loss that finds its triplets in the batch (Hermans et al. 2017).

Each sample is an anchor: of the batch, the farthest of its own class against the nearest of another. The loss of a
sample depends on its batch, which is meant here; it is one value per sample all the same, so sample weights act.
"""

import keras
import numpy as np
from keras import layers, ops
from sklearn.datasets import load_digits

import lossproof as lp


def make_data():
    """1797 digits: pixels of shape (N, 64) in 0 ... 1, labels of shape (N,)."""
    digits = load_digits()
    return (digits.data / 16.0).astype("float32"), digits.target.astype("int32")


def build_model():
    pixels = keras.Input((64,), name="pixels")
    h = layers.Dense(48, activation="relu")(pixels)
    return keras.Model(pixels, layers.Dense(8, name="place")(h))


def batch_hard(y_true, y_pred, margin):
    """Softplus of margin + farthest of the own class - nearest of the others, shape (batch,)."""
    label = ops.reshape(y_true, (-1,))
    same = ops.equal(label[:, None], label[None, :])
    squares = ops.sum(ops.square(y_pred), axis=-1)
    squared = squares[:, None] + squares[None, :] - 2.0 * ops.matmul(y_pred, ops.transpose(y_pred))
    # The root of 0 has no derivative; pairs of a sample with itself are such.
    distance = ops.sqrt(ops.maximum(squared, 1e-6))
    farthest = ops.max(ops.where(same, distance, 0.0), axis=-1)
    nearest = ops.min(ops.where(same, 1e6, distance), axis=-1)
    return ops.softplus(margin + farthest - nearest)


def make_objective():
    return lp.Objective([lp.Term(batch_hard, margin=0.5)])


def neighbours(places, labels, known, known_labels):
    """Share of the places whose nearest known one has their label."""
    distances = np.linalg.norm(places[:, None] - known[None], axis=-1)
    return np.mean(known_labels[distances.argmin(1)] == labels)


def main():
    keras.utils.set_random_seed(7)
    x, y = make_data()
    model = build_model()
    trainer = lp.Trainer(model, make_objective())
    trainer.compile(keras.optimizers.Adam(0.003))
    history = trainer.fit(x[:1500], y[:1500], epochs=6, batch_size=100, verbose=0).history
    for name, values in history.items():
        print(f"{name:12s} {values[0]:.4f} -> {values[-1]:.4f}")
    known, new = model.predict(x[:1500], verbose=0), model.predict(x[1500:], verbose=0)
    print(f"nearest neighbour has the right label: {neighbours(new, y[1500:], known, y[:1500]):.0%}")


if __name__ == "__main__":
    main()
