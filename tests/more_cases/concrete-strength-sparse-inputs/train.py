import numpy as np
import torch
import keras
from keras import layers, regularizers

rng = np.random.default_rng(52)
mix = rng.normal(size=(120, 8)).astype("float32")
strength = (mix[:, :1] * 2.0 - mix[:, 2:3] + 0.8 * rng.normal(size=(120, 1))).astype("float32")


class StrengthModel(keras.Model):
    def __init__(self, penalty):
        super().__init__()
        self.hidden = layers.Dense(32, activation="relu", kernel_regularizer=regularizers.l1(penalty))
        self.out = layers.Dense(1)
        self.tracker = keras.metrics.Mean(name="loss")

    def call(self, x):
        return self.out(self.hidden(x))

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        prediction = self(x, training=True)
        squared = torch.square(y - prediction)[:, 0]
        if sample_weight is not None:
            squared = squared * sample_weight
        loss = squared.mean()
        loss.backward()
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


for penalty in (0.0, 0.02, 0.2):
    keras.utils.set_random_seed(52)
    model = StrengthModel(penalty)
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    history = model.fit(mix, strength, batch_size=40, epochs=30, verbose=0).history
    kernel = model.hidden.kernel.numpy()
    print(f"penalty {penalty:4.2f}: loss {history['loss'][-1]:.4f}, sum of the first kernel's sizes {np.abs(kernel).sum():.3f}")
