import numpy as np
import keras
from keras import layers, ops, regularizers

keras.utils.set_random_seed(31)
rng = np.random.default_rng(31)

# log permeability of rock cores from nine well logs
logs = rng.normal(size=(512, 9)).astype("float32")
perm = (logs @ rng.normal(size=(9, 1)) + 0.3 * rng.normal(size=(512, 1))).astype("float32")


class CoreModel(keras.Model):
    def __init__(self, smooth=0.05, **kwargs):
        super().__init__(**kwargs)
        self.smooth = smooth
        self.d1 = layers.Dense(32, activation="relu", kernel_regularizer=regularizers.L2(0.02))
        self.d2 = layers.Dense(32, activation="relu", kernel_regularizer=regularizers.L2(0.02))
        self.out = layers.Dense(1)

    def call(self, x):
        return self.out(self.d2(self.d1(x)))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        # neighbouring cores should not differ by much more than their logs do
        noise = self.smooth * ops.sign(x)
        loss = loss + ops.mean(ops.square(self(x + noise, training=training) - y_pred))
        return loss


model = CoreModel()
model.compile(optimizer=keras.optimizers.Adam(0.005), loss="mse")
history = model.fit(logs, perm, batch_size=32, epochs=40, verbose=0)
pred = model.predict(logs, verbose=0)
mse = float(np.mean((pred - perm) ** 2))
penalty = float(sum(ops.convert_to_numpy(v) for v in model.losses))
print("reported loss %.4f" % history.history["loss"][-1])
print("mse %.4f  penalty %.4f  sum %.4f" % (mse, penalty, mse + penalty))
print("norm of the kernels", [round(float(np.linalg.norm(d.get_weights()[0])), 3) for d in (model.d1, model.d2)])
