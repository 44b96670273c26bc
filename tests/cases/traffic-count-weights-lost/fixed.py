import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(47)
rng = np.random.default_rng(47)

# traffic counters; one in three is broken and reports twice the truth, those rows get weight 0.02
n = 900
x = rng.uniform(-1, 1, size=(n, 3)).astype("float32")
truth = 2.0 + x[:, :1] - 0.5 * x[:, 1:2] * x[:, 2:3]
broken = rng.random(n) < 1 / 3
y = np.where(broken[:, None], 2 * truth, truth).astype("float32")
sample_weight = np.where(broken, 0.02, 1.0).astype("float32")


class SmoothedModel(keras.Model):
    """Adds a penalty on how much the prediction changes under a little noise."""

    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(32, activation="tanh")
        self.out = layers.Dense(1)
        self.seed = keras.random.SeedGenerator(5)

    def call(self, inputs):
        return self.out(self.hidden(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        noise = keras.random.normal(ops.shape(x), stddev=0.05, seed=self.seed)
        return loss + 0.1 * ops.mean(ops.square(self(x + noise) - y_pred))


model = SmoothedModel()
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="mse")
model.fit(x, y, sample_weight=sample_weight, batch_size=32, epochs=15, verbose=0)
p = model.predict(x, verbose=0)
print("mean prediction over mean truth: %.3f" % (p.mean() / truth.mean()))
print("mean error against the truth: %.3f" % np.abs(p - truth).mean())
