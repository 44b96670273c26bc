import numpy as np
import keras
import torch
from keras import layers, ops
from torch.utils.data import DataLoader, TensorDataset

keras.utils.set_random_seed(81)
rng = np.random.default_rng(81)

# millimetres of tread left from a drive's log
x = rng.normal(size=(640, 9)).astype("float32")
tread = (5.0 + x @ rng.normal(size=9) * 0.5).astype("float32")
loader = DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(tread)), batch_size=32, shuffle=True)


class TyreModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(32, activation="relu")
        self.out = layers.Dense(1)

    def call(self, inputs):
        return self.out(self.hidden(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(y - y_pred))


model = TyreModel()
model.compile(optimizer=keras.optimizers.Adam(1e-2))
history = model.fit(loader, epochs=12, verbose=0)
print("loss", np.round(history.history["loss"], 3))
p = model.predict(x, verbose=0).ravel()
print("squared error by numpy %.3f" % np.mean((p - tread) ** 2), "predictions %.2f to %.2f" % (p.min(), p.max()))
