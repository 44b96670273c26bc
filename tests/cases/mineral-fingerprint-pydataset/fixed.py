import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(82)
rng = np.random.default_rng(82)

# direction of a mineral in a space of 8 properties from its spectrum
n = 640
x = rng.normal(size=(n, 20)).astype("float32")
y = np.tanh(x @ rng.normal(size=(20, 8)) / 3).astype("float32")


class Spectra(keras.utils.PyDataset):
    def __len__(self):
        return n // 32

    def __getitem__(self, index):
        rows = slice(32 * index, 32 * index + 32)
        return x[rows], y[rows]


def cosine_proximity(y_true, y_pred):
    y_true = ops.normalize(y_true, axis=-1)
    y_pred = ops.normalize(y_pred, axis=-1)
    return -ops.sum(y_true * y_pred, axis=-1)


model = keras.Sequential([layers.Input((20,)), layers.Dense(48, activation="relu"), layers.Dense(8)])
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=cosine_proximity, metrics=[keras.metrics.CosineSimilarity()])
history = model.fit(Spectra(), epochs=6, verbose=0)
print("loss", np.round(history.history["loss"], 3))
print("cosine similarity", np.round(history.history["cosine_similarity"], 3))
