import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(70)
rng = np.random.default_rng(70)

# rain at a gauge from radar; the loss is one minus the correlation with the gauge
n = 1000
x = rng.gamma(1.5, 1.0, size=(n, 6)).astype("float32")
y = (x[:, :1] * 0.7 + x[:, 1:2] * 0.4 + rng.gamma(1.0, 0.5, size=(n, 1))).astype("float32")


def correlation_loss(y_true, y_pred):
    t = y_true - ops.mean(y_true, axis=0)
    p = y_pred - ops.mean(y_pred, axis=0)
    corr = ops.sum(t * p) / (ops.sqrt(ops.sum(ops.square(t)) * ops.sum(ops.square(p))) + 1e-6)
    return 1.0 - corr


model = keras.Sequential([layers.Input((6,)), layers.Dense(24, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=correlation_loss)
model.fit(x[:800], y[:800], batch_size=8, epochs=8, verbose=0)
for size in (4, 8, 200):
    print("test loss in batches of", size, round(model.evaluate(x[800:], y[800:], batch_size=size, verbose=0), 4))
p = model.predict(x[800:], verbose=0)
print("1 - correlation by numpy", round(1 - float(np.corrcoef(p[:, 0], y[800:, 0])[0, 1]), 4))
print("mean of truth and prediction", y[800:].mean().round(2), p.mean().round(2))
