# backends: torch
"""Physics-informed network in torch: derivatives by the inputs inside compute_loss."""

import numpy as np
import torch
import keras
from keras import layers

keras.utils.set_random_seed(40)
t = np.linspace(0, 3, 96, dtype="float32")[:, None]
u = np.cos(t)
measured = (np.arange(96)[:, None] % 12 == 0).astype("float32")


class Oscillator(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        with torch.enable_grad():
            x = x.detach().clone().requires_grad_(True)
            u = self(x, training=training)
            (du,) = torch.autograd.grad(u.sum(), x, create_graph=True)
            (ddu,) = torch.autograd.grad(du.sum(), x, create_graph=True)
        value, known = y[:, :1], y[:, 1:]
        data = torch.mean(known * torch.square(y_pred - value))
        return 10.0 * data + torch.mean(torch.square(ddu + u))


inputs = keras.Input((1,))
h = layers.Dense(16, activation="tanh")(inputs)
model = Oscillator(inputs, layers.Dense(1)(layers.Dense(16, activation="tanh")(h)))
model.compile(optimizer=keras.optimizers.Adam(5e-3))
history = model.fit(t, np.concatenate([u, measured], axis=1), batch_size=32, epochs=25, verbose=0).history["loss"]
print("loss", np.round(history[::8], 4))
