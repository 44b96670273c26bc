"""Sort gearbox recordings into healthy, worn and broken, with the rare kinds weighted up.

The weights are multiplied into the one-hot targets, advice found in many a thread. It is sound on JAX and PyTorch. On
TensorFlow, Keras sees that the predictions come out of a softmax and computes the cross-entropy from the logits behind
it, with a fused gradient of `softmax - target`. That holds only where a row of targets sums to 1, and these do not: the
reported loss stays right while the weights follow a gradient that is wrong. Run it with `KERAS_BACKEND=tensorflow` and
with `KERAS_BACKEND=jax`, and compare what is printed.

A cure: weight the loss of each sample instead of its target,

    weight = ops.sum(ops.multiply(y_true, class_weight), axis=-1)
    return weight * keras.losses.categorical_crossentropy(y_true, y_pred)
"""

import keras
import numpy as np
from keras import layers, ops

KINDS = ("healthy", "worn", "broken")

keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)

# 1000 recordings, each the energy in 8 frequency bands; faults are rare
counts = (860, 110, 30)
centers = rng.normal(0.0, 1.1, size=(3, 8))
bands = np.concatenate([rng.normal(center, 1.0, size=(n, 8)) for center, n in zip(centers, counts, strict=True)])
kind = np.repeat(np.arange(3), counts)
order = rng.permutation(len(kind))
bands, kind = bands[order].astype("float32"), kind[order]
targets = keras.utils.to_categorical(kind, 3)

class_weight = (1.0 / (3.0 * targets.mean(axis=0))).astype("float32")


def weighted_crossentropy(y_true, y_pred):
    """Cross-entropy in which every kind counts the same, however rare."""
    y_true = ops.multiply(y_true, class_weight)
    return keras.losses.categorical_crossentropy(y_true, y_pred)


model = keras.Sequential(
    [
        layers.Input((8,)),
        layers.Dense(16, activation="relu"),
        layers.Dense(3, activation="softmax"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=weighted_crossentropy, metrics=["accuracy"])
history = model.fit(bands, targets, batch_size=50, epochs=15, verbose=0)

print("class weights:", ", ".join(f"{name} {w:.2f}" for name, w in zip(KINDS, class_weight, strict=True)))
for epoch, when in ((0, "first"), (-1, "last")):
    print(f"{when} epoch: " + ", ".join(f"{name} {values[epoch]:.3f}" for name, values in history.history.items()))
found = np.argmax(model.predict(bands, verbose=0), axis=1)
for k, name in enumerate(KINDS):
    print(f"{name:8s} {np.mean(found[kind == k] == k):4.0%} of {counts[k]} recognised")
