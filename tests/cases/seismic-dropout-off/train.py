import numpy as np
import keras
import torch
from keras import layers

keras.utils.set_random_seed(45)
rng = np.random.default_rng(45)

# few labelled traces, so a strong Dropout is to keep the network from learning them by heart
n, d = 160, 40
x = rng.normal(size=(n + 600, d)).astype("float32")
y = (x[:, 0] + 0.8 * x[:, 1] + 1.0 * rng.normal(size=n + 600) > 0).astype("float32")[:, None]


class TraceModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(128, activation="relu")
        self.dropout = layers.Dropout(0.7)
        self.out = layers.Dense(1, activation="sigmoid")

    def call(self, inputs, training=None):
        h = self.dropout(self.hidden(inputs), training=training)
        return self.out(h)

    def train_step(self, data):
        x, y = data
        self.zero_grad()
        y_pred = self(x)
        loss = self.compute_loss(y=y, y_pred=y_pred)
        loss.backward()
        weights = self.trainable_weights
        with torch.no_grad():
            self.optimizer.apply([w.value.grad for w in weights], weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


model = TraceModel()
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="binary_crossentropy", metrics=["accuracy"])
history = model.fit(x[:n], y[:n], batch_size=32, epochs=25, validation_data=(x[n:], y[n:]), verbose=0)
for key in ("loss", "val_loss", "val_accuracy"):
    print(key, np.round(history.history[key][::6], 3))
