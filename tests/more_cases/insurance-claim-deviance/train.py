import functools

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(35)
rng = np.random.default_rng(35)

driver = rng.normal(size=(800, 6)).astype("float32")
rate = np.exp(-0.9 + 0.5 * driver[:, 0] - 0.4 * driver[:, 2])
claims = rng.poisson(rate)[:, None].astype("float32")
print("policies without a claim: %.0f %%" % (100 * np.mean(claims == 0)))


def poisson_deviance(y_true, y_pred, scale):
    # y log(y / mu) is 0 for policies without a claim
    log_term = ops.where(y_true > 0, y_true * ops.log(y_true / y_pred), 0.0)
    return scale * 2.0 * ops.mean(log_term - y_true + y_pred, axis=-1)


model = keras.Sequential(
    [
        layers.Input((6,)),
        layers.Dense(16, activation="relu"),
        layers.Dense(1, activation="exponential"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=functools.partial(poisson_deviance, scale=0.5))
print("loss of the untrained model", model.evaluate(driver, claims, verbose=0))
history = model.fit(driver, claims, batch_size=80, epochs=8, verbose=0)
print("loss", np.round(history.history["loss"], 4))
predicted = model.predict(driver, verbose=0)
print("mean claims predicted %.3f, seen %.3f" % (predicted.mean(), claims.mean()))
