import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
import torch.nn.functional as F

ENTROPY_BETA = 0.005
LEARNING_RATE = 2e-3
BATCH_SIZE = 64
N_ACTIONS = 4

keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)


class Dispatch:
    """One decision per request: which of four depots sends the car. Fares differ a lot
    from request to request, the choice of the depot adds or costs a little."""

    def __init__(self):
        self.best = rng.normal(size=(6, N_ACTIONS))

    def requests(self, n):
        return rng.normal(size=(n, 6)).astype("float32")

    def fare(self, states, actions):
        base = 12.0 * states[:, 0] + 8.0 * states[:, 1]
        gain = (states @ self.best)[np.arange(len(actions)), actions]
        return (base + gain).astype("float32")

    def regret(self, states, actions):
        gain = states @ self.best
        return (gain.max(axis=1) - gain[np.arange(len(actions)), actions]).mean()


def build_a2c():
    inp = keras.Input((6,))
    body = keras.layers.Dense(64, activation="relu")(inp)
    policy = keras.layers.Dense(N_ACTIONS)(body)
    critic = keras.layers.Dense(64, activation="relu")(inp)
    value = keras.layers.Dense(1)(critic)
    return keras.Model(inp, [policy, value])


env = Dispatch()
net = build_a2c()
optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)

for step_idx in range(1500):
    states = env.requests(BATCH_SIZE)
    with torch.no_grad():
        logits, _ = net(states)
        actions_t = torch.distributions.Categorical(logits=logits).sample()
    vals_ref_v = torch.as_tensor(env.fare(states, actions_t.numpy()))

    optimizer.zero_grad()
    logits_v, value_v = net(states, training=True)
    loss_value_v = F.mse_loss(value_v.squeeze(-1), vals_ref_v)

    log_prob_v = F.log_softmax(logits_v, dim=1)
    adv_v = vals_ref_v - value_v.detach()
    log_prob_actions_v = adv_v * log_prob_v[range(BATCH_SIZE), actions_t]
    loss_policy_v = -log_prob_actions_v.mean()

    prob_v = F.softmax(logits_v, dim=1)
    entropy_loss_v = ENTROPY_BETA * (prob_v * log_prob_v).sum(dim=1).mean()

    loss_v = 0.1 * loss_value_v + loss_policy_v + entropy_loss_v
    loss_v.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
    optimizer.step()

    if (step_idx + 1) % 300 == 0:
        print("step %4d  loss %8.3f  value %7.3f  regret %.3f" % (
            step_idx + 1, loss_v.item(), loss_value_v.item(), env.regret(states, actions_t.numpy())))

states = env.requests(4000)
with torch.no_grad():
    greedy = net(states)[0].argmax(dim=1).numpy()
print("regret of the greedy policy: %.3f (random depot: %.3f)" % (
    env.regret(states, greedy), env.regret(states, rng.integers(0, N_ACTIONS, 4000))))
