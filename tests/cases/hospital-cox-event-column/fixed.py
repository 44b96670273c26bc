import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(20)
rng = np.random.default_rng(20)

# readmission of patients: days until it, and whether it was seen (1) or the study ended first (0)
n = 240
patients = rng.normal(size=(n, 6)).astype("float32")
risk = 1.2 * patients[:, 0] - 0.9 * patients[:, 1]
days = rng.exponential(30.0 * np.exp(-risk))
censor = rng.exponential(40.0 * np.exp(-1.5 * patients[:, 2]), size=n)
event = (days <= censor).astype("float32")
observed = np.minimum(days, censor).astype("float32")

order = np.argsort(-observed)          # longest first: everybody before row i is still at risk
patients, observed, event = patients[order], observed[order], event[order]
labels = np.stack([observed, event], axis=1)


class CoxLoss(keras.losses.Loss):
    """Negative log partial likelihood of Cox, rows sorted by falling time."""

    def call(self, y_true, y_pred):
        theta = ops.reshape(y_pred, (-1,))
        status = y_true[:, 1]
        exp_theta = ops.exp(theta)
        log_risk = ops.log(ops.cumsum(exp_theta))
        censored = (theta - log_risk) * status
        return -ops.sum(censored) / ops.sum(status)


deepsurv = keras.Sequential(
    [layers.Input((6,)), layers.Dense(16, activation="tanh"), layers.Dense(1, use_bias=False)]
)
deepsurv.compile(optimizer=keras.optimizers.Adam(1e-2), loss=CoxLoss())
history = deepsurv.fit(patients, labels, batch_size=n, shuffle=False, epochs=80, verbose=0)
print("loss", np.round(history.history["loss"][::16], 3))


def concordance(t, e, score):
    good = total = 0
    for i in np.flatnonzero(e):
        later = t > t[i]
        total += later.sum()
        good += (score[i] > score[later]).sum()
    return good / total


theta = deepsurv.predict(patients, verbose=0).ravel().astype("float64")
loglik = np.sum((theta - np.log(np.cumsum(np.exp(theta)))) * event)
print("by numpy %.3f" % (-loglik / event.sum()), "by evaluate %.3f" % deepsurv.evaluate(patients, labels, batch_size=n, verbose=0))
print("c-index %.3f, of the true risk %.3f" % (concordance(observed, event, theta), concordance(observed, event, risk[order])))
