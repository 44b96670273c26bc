import os
import tempfile

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(52)
rng = np.random.default_rng(52)

# anchor, same species, other species: three embeddings side by side in one output
species = rng.normal(size=(12, 10))
a = rng.integers(0, 12, size=600)
b = (a + rng.integers(1, 12, size=600)) % 12
shots = [species[a], species[a], species[b]]
x = np.stack([s + 0.4 * rng.normal(size=(600, 10)) for s in shots], axis=1).astype("float32")
y = np.zeros((600, 1), "float32")


@keras.saving.register_keras_serializable(package="fossils")
class TripletLoss(keras.losses.Loss):
    def __init__(self, margin, name="triplet"):
        super().__init__(name=name)
        self.margin = margin

    def call(self, y_true, embeddings):
        anchor, near, far = embeddings[:, 0], embeddings[:, 1], embeddings[:, 2]
        d_near = ops.sum(ops.square(anchor - near), axis=-1)
        d_far = ops.sum(ops.square(anchor - far), axis=-1)
        return ops.maximum(d_near - d_far + self.margin, 0.0)

    def get_config(self):
        return {"name": self.name, "margin": self.margin}


model = keras.Sequential([layers.Input((3, 10)), layers.Dense(24, activation="relu"), layers.Dense(4)])
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=TripletLoss(margin=2.0))
model.fit(x, y, batch_size=32, epochs=4, verbose=2)

path = os.path.join(tempfile.mkdtemp(), "fossils.keras")
model.save(path)
model = keras.models.load_model(path)
model.fit(x, y, batch_size=32, epochs=2, verbose=2)
