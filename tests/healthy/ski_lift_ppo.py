# backends: tensorflow, jax, torch
"""PPO: ratio clipped at 1 +- 0.2, so that samples beyond the clip have no gradient, and should not."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(54)
rng = np.random.default_rng(54)


def clipped_surrogate(epsilon=0.2, entropy_share=0.01):
    def loss(y_true, y_pred):
        action, old_log_prob, advantage = y_true[:, 0], y_true[:, 1], y_true[:, 2]
        log_probs = ops.log_softmax(y_pred)
        taken = ops.sum(ops.one_hot(ops.cast(action, "int32"), 3) * log_probs, axis=-1)
        ratio = ops.exp(taken - old_log_prob)
        clipped = ops.clip(ratio, 1.0 - epsilon, 1.0 + epsilon)
        entropy = -ops.sum(ops.exp(log_probs) * log_probs, axis=-1)
        return -ops.minimum(ratio * advantage, clipped * advantage) - entropy_share * entropy

    return loss


policy = keras.Sequential([layers.Input((4,)), layers.Dense(16, activation="tanh"), layers.Dense(3)])
policy.compile(optimizer=keras.optimizers.Adam(0.01), loss=clipped_surrogate())
for round_ in range(4):
    states = rng.normal(size=(128, 4)).astype("float32")
    logits = policy.predict(states, verbose=0)
    probs = np.exp(logits - logits.max(axis=1, keepdims=True)).astype("float64")
    probs /= probs.sum(axis=1, keepdims=True)
    actions = np.array([rng.choice(3, p=p) for p in probs])
    reward = 1.0 - np.abs(actions - np.clip(np.round(states[:, 0] + 1), 0, 2))
    log_prob = np.log(probs[np.arange(128), actions])
    data = np.stack([actions, log_prob, reward - reward.mean()], axis=1).astype("float32")
    history = policy.fit(states, data, batch_size=32, epochs=3, verbose=0).history["loss"]
    print("round", round_, "reward %.3f" % reward.mean(), "loss", np.round(history, 4))
