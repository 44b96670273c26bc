import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(36)
rng = np.random.default_rng(36)

# depth profile of a parcel on the belt -> its three edges in metres, and its kind
edges = rng.uniform(0.05, 0.6, size=(600, 3)).astype("float32")
kind = rng.integers(0, 4, 600)
profile = np.concatenate([edges @ rng.normal(size=(3, 10)), np.eye(4)[kind] @ rng.normal(size=(4, 6))], axis=1)
profile = (profile + 0.05 * rng.normal(size=profile.shape)).astype("float32")


class ParcelNet(keras.Model):
    def __init__(self):
        super().__init__()
        self.trunk = layers.Dense(32, activation="relu")
        self.edges_head = layers.Dense(3)
        self.kind_head = layers.Dense(4, activation="softmax")

    def call(self, x):
        h = self.trunk(x)
        return {"edges": self.edges_head(h), "kind": self.kind_head(h)}


model = ParcelNet()
model.compile(
    optimizer=keras.optimizers.SGD(0.05),
    loss={"edges": "mse", "kind": "sparse_categorical_crossentropy"},
    # edges are in metres, their squared errors are tiny
    loss_weights={"edges": 50.0, "kind": 0.1},
)
model.fit(profile, {"edges": edges, "kind": kind}, batch_size=50, epochs=10, verbose=0)
logs = model.evaluate(profile, {"edges": edges, "kind": kind}, verbose=0, return_dict=True)
print({name: round(value, 4) for name, value in logs.items()})
print("weighted as intended %.4f" % (50.0 * logs["edges_loss"] + 0.1 * logs["kind_loss"]))
print("weights exchanged    %.4f" % (0.1 * logs["edges_loss"] + 50.0 * logs["kind_loss"]))
