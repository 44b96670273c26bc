# backends: tensorflow, jax, torch
"""Advantage actor-critic: the actor's term must not train the critic, so the advantage is cut there and only there."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(11)
rng = np.random.default_rng(11)


class ActorCritic(keras.Model):
    def __init__(self):
        super().__init__()
        self.body = layers.Dense(24, activation="relu")
        self.actor = layers.Dense(2)
        self.critic = layers.Dense(1)

    def call(self, states):
        h = self.body(states)
        return ops.concatenate([self.actor(h), self.critic(h)], axis=-1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        action = ops.one_hot(ops.cast(y[:, 0], "int32"), 2)
        returns = ops.convert_to_tensor(y[:, 1], dtype="float32")
        log_prob = ops.log_softmax(y_pred[:, :2])
        value = y_pred[:, 2]
        advantage = ops.stop_gradient(returns - value)
        policy = -ops.mean(ops.sum(action * log_prob, axis=-1) * advantage)
        entropy = -ops.mean(ops.sum(ops.exp(log_prob) * log_prob, axis=-1))
        return policy + 0.5 * ops.mean(ops.square(returns - value)) - 0.01 * entropy


model = ActorCritic()
model.compile(optimizer=keras.optimizers.Adam(0.01))
for update in range(60):
    states = rng.normal(size=(32, 3)).astype("float32")
    logits = model.predict_on_batch(states)[:, :2]
    right = rng.random(32) < 1.0 / (1.0 + np.exp(logits[:, 0] - logits[:, 1]))
    reward = np.where(right == (states[:, 0] > 0), 1.0, -1.0) + states[:, 1]
    loss = model.train_on_batch(states, np.stack([right, reward], axis=1).astype("float32"))
    if update % 20 == 19:
        print("update", update + 1, "loss %.3f" % float(loss), "mean reward %.2f" % reward.mean())
