"""Sort gearbox recordings where faults are rare, with the rare kinds weighted up: right on every backend.

The usual way, weights multiplied into the one-hot targets of a softmax, gets a wrong gradient on TensorFlow (see
`../weighted_targets.py`). Here the loss of a sample is weighted, not its target; the weights are a constant of the term.
"""

import keras
import numpy as np
from keras import layers, ops

import lossproof as lp

KINDS = ("healthy", "worn", "broken")
COUNTS = (860, 110, 30)


def make_data():
    """1000 recordings: the energy in 8 frequency bands, shape (1000, 8), and the kind as one-hot rows (1000, 3)."""
    rng = np.random.default_rng(3)
    centers = rng.normal(0.0, 1.1, (3, 8))
    bands = np.concatenate([rng.normal(center, 1.0, (n, 8)) for center, n in zip(centers, COUNTS, strict=True)])
    kinds = np.repeat(np.eye(3), COUNTS, axis=0)
    order = rng.permutation(len(kinds))
    return bands[order].astype("float32"), kinds[order].astype("float32")


def build_model():
    bands = keras.Input((8,), name="bands")
    h = layers.Dense(16, activation="relu")(bands)
    return keras.Model(bands, layers.Dense(3, activation="softmax", name="kind")(h))


def weighted_crossentropy(y_true, y_pred, class_weight):
    """Cross-entropy of each sample times the weight of its class, shape (batch,)."""
    weight = ops.sum(y_true * ops.convert_to_tensor(class_weight, y_true.dtype), axis=-1)
    return weight * keras.losses.categorical_crossentropy(y_true, y_pred)


def make_objective():
    weights = [sum(COUNTS) / (len(COUNTS) * count) for count in COUNTS]
    return lp.Objective([lp.Term(weighted_crossentropy, class_weight=weights)])


def main():
    keras.utils.set_random_seed(5)
    bands, kinds = make_data()
    model = build_model()
    trainer = lp.Trainer(model, make_objective())
    trainer.compile(keras.optimizers.Adam(0.01), metrics=["accuracy"])
    history = trainer.fit(bands, kinds, epochs=8, batch_size=50, verbose=0).history
    for name, values in history.items():
        print(f"{name:22s} {values[0]:.4f} -> {values[-1]:.4f}")
    said, true = model.predict(bands, verbose=0).argmax(1), kinds.argmax(1)
    for k, kind in enumerate(KINDS):
        print(f"{kind:8s} {np.mean(said[true == k] == k):.0%} recognised")


if __name__ == "__main__":
    main()
