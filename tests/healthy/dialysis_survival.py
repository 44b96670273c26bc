# backends: tensorflow, jax, torch
"""Cox regression: the risk set of a patient is made of the other patients in the batch."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(6)
rng = np.random.default_rng(6)

x = rng.normal(size=(400, 5)).astype("float32")
time = rng.exponential(np.exp(-0.8 * x[:, 0] + 0.5 * x[:, 2]))
limit = rng.exponential(2.0, 400)
event = (time <= limit).astype("float32")
outcome = np.stack([np.minimum(time, limit), event], axis=1).astype("float32")


def cox_partial_likelihood(y_true, y_pred):
    time, event = y_true[:, 0], y_true[:, 1]
    risk = y_pred[:, 0]
    at_risk = ops.cast(time[None, :] >= time[:, None], "float32")  # row i: who is still observed at time i
    # log of the sum of exp(risk) over the risk set, with the largest risk taken out
    top = ops.stop_gradient(ops.max(risk))
    log_sum = top + ops.log(ops.sum(at_risk * ops.exp(risk[None, :] - top), axis=1))
    return event * (log_sum - risk)


model = keras.Sequential([layers.Input((5,)), layers.Dense(12, activation="tanh"), layers.Dense(1, use_bias=False)])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=cox_partial_likelihood)
history = model.fit(x, outcome, batch_size=100, epochs=8, verbose=0).history["loss"]
print("loss", np.round(history, 3))
risk = model.predict(x, verbose=0)[:, 0]
print("correlation of risk and log time %.3f" % np.corrcoef(risk, np.log(time))[0, 1])
