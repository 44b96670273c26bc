# backends: torch
"""A torch train_step with a DataLoader: weights, layer losses and metrics are all taken along."""

import numpy as np
import torch
import keras
from keras import layers, regularizers

keras.utils.set_random_seed(55)
rng = np.random.default_rng(55)
x = rng.normal(size=(330, 6)).astype("float32")
y = (x[:, :1] - 0.5 * x[:, 1:2]).astype("float32")
w = rng.uniform(0.2, 1.0, size=330).astype("float32")


class PriceModel(keras.Model):
    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        y_pred = self(x, training=True)
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        loss.backward()
        weights = list(self.trainable_weights)
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in weights], weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss.detach(), sample_weight=x.shape[0])
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


inputs = keras.Input((6,))
h = layers.Dense(16, activation="relu", kernel_regularizer=regularizers.l2(1e-3))(inputs)
model = PriceModel(inputs, layers.Dense(1)(layers.Dropout(0.1)(h)))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(w))
loader = torch.utils.data.DataLoader(data, batch_size=50, shuffle=True, generator=torch.Generator().manual_seed(0))
history = model.fit(loader, epochs=5, verbose=0).history
print({name: np.round(values[-1], 4) for name, values in history.items()})
