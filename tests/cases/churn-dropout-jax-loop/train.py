import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(23)
rng = np.random.default_rng(23)

# few customers, many columns
n, d = 260, 60
x = rng.normal(size=(n, d)).astype("float32") * 3.0 + 5.0
logit = 0.5 * (x[:, 0] - 5) - 0.4 * (x[:, 1] - 5) + 0.3 * (x[:, 2] - 5)
y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype("float32")[:, None]
x_train, y_train, x_val, y_val = x[:160], y[:160], x[160:], y[160:]


class MLP(keras.Model):
    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization(momentum=0.9)
        self.hidden = layers.Dense(64, activation="relu")
        self.drop = layers.Dropout(0.6)
        self.logit = layers.Dense(1)

    def call(self, inputs, training=None):
        h = self.norm(inputs, training=training)
        h = self.drop(self.hidden(h), training=training)
        return self.logit(h)


model = MLP()
optimizer = keras.optimizers.Adam(5e-3)
loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)
model(x_train[:1])  # creates the weights
optimizer.build(model.trainable_variables)


def compute_loss(trainable, non_trainable, xb, yb):
    logits, non_trainable = model.stateless_call(trainable, non_trainable, xb)
    return loss_fn(yb, logits), non_trainable


grad_fn = jax.value_and_grad(compute_loss, has_aux=True)


@jax.jit
def train_step(state, xb, yb):
    trainable, non_trainable, opt = state
    (loss, non_trainable), grads = grad_fn(trainable, non_trainable, xb, yb)
    trainable, opt = optimizer.stateless_apply(opt, grads, trainable)
    return loss, (trainable, non_trainable, opt)


state = (
    [v.value for v in model.trainable_variables],
    [v.value for v in model.non_trainable_variables],
    [v.value for v in optimizer.variables],
)
for epoch in range(40):
    order = rng.permutation(len(x_train))
    losses = []
    for i in range(0, len(order), 32):
        rows = order[i : i + 32]
        loss, state = train_step(state, x_train[rows], y_train[rows])
        losses.append(float(loss))
    if epoch % 8 == 7:
        val_logits, _ = model.stateless_call(state[0], state[1], x_val, training=False)
        print("epoch %2d  train %.4f  val %.4f" % (epoch + 1, np.mean(losses), float(loss_fn(y_val, val_logits))))

for variable, value in zip(model.trainable_variables + model.non_trainable_variables, state[0] + state[1]):
    variable.assign(value)
print("moving mean of the first columns:", keras.ops.convert_to_numpy(model.norm.moving_mean)[:4].round(2))
