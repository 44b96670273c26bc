import numpy as np
import keras
from keras import ops as K


class ActorAgent:
    """Picks one of two ads for a visitor, learns from the clicks."""

    def __init__(self, n_features, seed=0):
        self.rng = np.random.default_rng(seed)
        keras.utils.set_random_seed(seed)
        self.n_features = n_features
        self.actor = self.build()
        self.mean_reward = 0.0

    def policyLoss(self, y_pred, y_true):
        # y_true is the baseline: zeros everywhere, the reward in the column of the action taken
        loss = K.sum(K.log(y_pred) * y_true, axis=-1)
        return -loss

    def build(self):
        inp = keras.layers.Input(shape=(self.n_features,))
        x = keras.layers.Dense(24, activation="tanh")(inp)
        policy = keras.layers.Dense(2, activation="softmax")(x)
        actor = keras.models.Model(inp, policy)
        actor.compile(optimizer=keras.optimizers.Adam(0.005), loss=self.policyLoss)
        return actor

    def act(self, states):
        p = np.asarray(self.actor.predict_on_batch(states))
        return (self.rng.random(len(states)) < p[:, 1]).astype(int), p

    def learn(self, states, actions, rewards):
        baseline = np.zeros((len(states), 2), "float32")
        baseline[np.arange(len(states)), actions] = rewards
        return self.actor.train_on_batch(states, baseline)


def visitors(rng, n, n_features):
    states = rng.normal(size=(n, n_features)).astype("float32")
    click_prob = np.stack([0.2 + 0.6 * (states[:, 0] < 0), 0.2 + 0.6 * (states[:, 0] > 0)], axis=-1)
    return states, click_prob


if __name__ == "__main__":
    rng = np.random.default_rng(1)
    agent = ActorAgent(n_features=5)
    for episode in range(240):
        states, click_prob = visitors(rng, 32, 5)
        actions, p = agent.act(states)
        clicks = (rng.random(32) < click_prob[np.arange(32), actions]).astype("float32")
        ActorLoss = agent.learn(states, actions, clicks)
        if episode % 60 == 59 or episode < 2:
            print("episode %d  loss %s  click rate %.2f  first policy %s" % (
                episode + 1, ActorLoss, clicks.mean(), p[0]))
