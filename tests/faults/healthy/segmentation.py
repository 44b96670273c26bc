# targets: masks
"""Cross-entropy plus dice, per image, as a Loss."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

masks = (rng.random((36, 5, 5, 1)) < rng.uniform(0.1, 0.6, (36, 1, 1, 1))).astype("float32")
scans = (masks + rng.normal(0, 0.4, masks.shape)).astype("float32")


class CrossEntropyAndDice(keras.losses.Loss):
    def __init__(self, share=0.5, name="cross_entropy_and_dice"):
        super().__init__(name=name)
        self.share = share

    def call(self, y_true, y_pred):
        p = ops.clip(y_pred, 1e-6, 1.0 - 1e-6)
        entropy = -(y_true * ops.log(p) + (1.0 - y_true) * ops.log(1.0 - p))
        overlap = ops.sum(y_true * p, axis=(1, 2, 3))
        size = ops.sum(y_true + p, axis=(1, 2, 3))
        dice = 1.0 - (2.0 * overlap + 1.0) / (size + 1.0)
        return self.share * ops.mean(entropy, axis=(1, 2, 3)) + (1.0 - self.share) * dice


model = keras.Sequential([keras.Input((5, 5, 1)), layers.Conv2D(3, 3, padding="same", activation="relu"), layers.Conv2D(1, 1, activation="sigmoid")])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss=CrossEntropyAndDice())
model.fit(scans, masks, batch_size=9, verbose=0)
