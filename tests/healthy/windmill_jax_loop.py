# backends: jax
"""A Keras model trained by a loop of jax.value_and_grad, without fit."""

import jax
import jax.numpy as jnp
import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(59)
rng = np.random.default_rng(59)
wind = rng.uniform(0, 1, size=(320, 3)).astype("float32")
power = (wind[:, :1] ** 3 + 0.1 * wind[:, 1:2]).astype("float32")

model = keras.Sequential([layers.Input((3,)), layers.Dense(16, activation="tanh"), layers.Dense(1)])
optimizer = keras.optimizers.Adam(0.01)
optimizer.build(model.trainable_variables)


def objective(trainable, non_trainable, x, y):
    y_pred, non_trainable = model.stateless_call(trainable, non_trainable, x, training=True)
    return jnp.mean(jnp.square(y - y_pred)), non_trainable


@jax.jit
def step(state, x, y):
    trainable, non_trainable, optimizer_variables = state
    (loss, non_trainable), gradients = jax.value_and_grad(objective, has_aux=True)(trainable, non_trainable, x, y)
    trainable, optimizer_variables = optimizer.stateless_apply(optimizer_variables, gradients, trainable)
    return loss, (trainable, non_trainable, optimizer_variables)


state = (
    [v.value for v in model.trainable_variables],
    [v.value for v in model.non_trainable_variables],
    [v.value for v in optimizer.variables],
)
for epoch in range(5):
    order = rng.permutation(320)
    for rows in np.split(order, 8):
        loss, state = step(state, wind[rows], power[rows])
    print("epoch", epoch + 1, "loss %.5f" % float(loss))
for variable, value in zip(model.trainable_variables, state[0]):
    variable.assign(value)
