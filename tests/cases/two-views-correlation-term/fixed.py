import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(70)
rng = np.random.default_rng(70)

# rain at a gauge from radar; the loss is one minus the correlation with the gauge
n = 1000
x = rng.gamma(1.5, 1.0, size=(n, 6)).astype("float32")
y = (x[:, :1] * 0.7 + x[:, 1:2] * 0.4 + rng.gamma(1.0, 0.5, size=(n, 1))).astype("float32")


y_variance = float(y.var())


def correlation_loss(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1) / y_variance


model = keras.Sequential([layers.Input((6,)), layers.Dense(24, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=correlation_loss)
model.fit(x[:800], y[:800], batch_size=8, epochs=8, verbose=0)
for size in (4, 8, 200):
    print("test loss in batches of", size, round(model.evaluate(x[800:], y[800:], batch_size=size, verbose=0), 4))
p = model.predict(x[800:], verbose=0)
print("1 - correlation by numpy", round(1 - float(np.corrcoef(p[:, 0], y[800:, 0])[0, 1]), 4))
print("mean of truth and prediction", y[800:].mean().round(2), p.mean().round(2))
