import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(21)
rng = np.random.default_rng(21)


class PPOAgent(keras.Model):
    """Which of three lifts answers the call; one-step episodes."""

    def __init__(self, n_lifts=3, clip=0.2):
        super().__init__()
        self.clip = clip
        self.n_lifts = n_lifts
        self.actor = keras.Sequential([layers.Dense(32, activation="tanh"), layers.Dense(n_lifts, activation="softmax")])
        self.critic = keras.Sequential([layers.Dense(32, activation="tanh"), layers.Dense(1)])

    def call(self, states):
        return self.actor(states), self.critic(states)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        actions, returns = y
        probs, values = y_pred
        returns = ops.reshape(returns, (-1, 1))
        taken = ops.one_hot(ops.reshape(actions, (-1,)), self.n_lifts)
        adv = returns - ops.stop_gradient(values)

        old_probs = self.actor(x)
        pi = ops.sum(taken * probs, axis=-1, keepdims=True)
        old_pi = ops.sum(taken * old_probs, axis=-1, keepdims=True)
        ratio = pi / old_pi
        surr1 = ratio * adv
        surr2 = ops.clip(ratio, 1.0 - self.clip, 1.0 + self.clip) * adv
        actor_loss = -ops.mean(ops.minimum(surr1, surr2))
        critic_loss = ops.mean(ops.square(returns - values))
        return actor_loss + 0.5 * critic_loss


agent = PPOAgent()
agent.compile(optimizer=keras.optimizers.Adam(0.01))

for iteration in range(60):
    states = rng.normal(size=(128, 6)).astype("float32")
    probs, _ = agent.predict_on_batch(states)
    u = rng.random((128, 1))
    actions = np.minimum((probs.cumsum(axis=1) < u).sum(axis=1), 2).astype("int32")
    best = np.argmin(states[:, :3], axis=1)
    returns = (np.where(actions == best, 1.0, 0.0) + 0.3 * states[:, 3]).astype("float32")
    for _ in range(4):
        loss = agent.train_on_batch(states, (actions, returns))
    if iteration % 15 == 14:
        print("iteration %d  loss %.4f  right lift %.2f" % (iteration + 1, float(loss), np.mean(actions == best)))
