# backends: tensorflow, jax, torch
"""Q-learning with a frozen target network inside the model, refreshed by a callback at the end of each epoch."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(12)
rng = np.random.default_rng(12)

states = rng.normal(size=(480, 4)).astype("float32")
actions = rng.integers(0, 3, 480)
rewards = np.where(actions == np.clip(np.round(states[:, 0] + 1), 0, 2), 1.0, 0.0)
following = np.clip(states + 0.1 * rng.normal(size=states.shape), -3, 3).astype("float32")
transition = np.concatenate([actions[:, None], rewards[:, None], following], axis=1).astype("float32")


def q_network():
    return keras.Sequential([layers.Input((4,)), layers.Dense(24, activation="relu"), layers.Dense(3)])


class DQN(keras.Model):
    def __init__(self, gamma=0.8):
        super().__init__()
        self.gamma = gamma
        self.online = q_network()
        self.target = q_network()
        self.target.trainable = False
        self.refresh()

    def refresh(self):
        self.target.set_weights(self.online.get_weights())

    def call(self, states):
        return self.online(states)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        action, reward, following = ops.cast(y[:, 0], "int32"), y[:, 1], y[:, 2:]
        best = ops.max(self.target(following), axis=-1)
        goal = ops.stop_gradient(reward + self.gamma * best)
        chosen = ops.sum(ops.one_hot(action, 3) * y_pred, axis=-1)
        return ops.mean(keras.losses.huber(goal[:, None], chosen[:, None]))


class Refresh(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.refresh()


model = DQN()
model.compile(optimizer=keras.optimizers.Adam(0.01))
history = model.fit(states, transition, batch_size=60, epochs=6, callbacks=[Refresh()], verbose=0).history["loss"]
print("loss", np.round(history, 4))
