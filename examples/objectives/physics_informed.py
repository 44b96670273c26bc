"""Follow a cooling cup of tea from four measurements and Newton's law: a loss of a gradient with respect to inputs.

du/dt = -k (u - room), with k unknown (Raissi et al. 2019). The model gives the temperature and its derivative in time;
a subclassed model offers what lies inside it by returning it in a dict. Only `slope` knows the backend: Keras has no
gradient of its own.
"""

import keras
import numpy as np
from keras import layers, ops

import lossproof as lp

ROOM, K = 0.2, 1.3


def make_data(n=256):
    """Times (n, 1); temperatures (n, 1), with the weight of a measurement: 1 at the few that were made, else 0."""
    rng = np.random.default_rng(9)
    time = rng.uniform(0.0, 3.0, (n, 1))
    temperature = ROOM + (1.0 - ROOM) * np.exp(-K * time)
    measured = np.zeros(n)
    measured[::16] = 1.0
    return time.astype("float32"), temperature.astype("float32"), measured.astype("float32")


def slope(function, t):
    """`function(t)` and its derivative, for rows that do not depend on each other."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.jvp(function, (t,), (ops.ones_like(t),))
    if backend == "torch":
        import torch

        with torch.enable_grad():
            t = t.detach().requires_grad_()
            u = function(t)
            (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        return u, du
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(t)
        u = function(t)
    return u, tape.gradient(u, t)


@keras.saving.register_keras_serializable("examples")
class Cooling(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = [layers.Dense(16, activation="tanh"), layers.Dense(16, activation="tanh")]
        self.last = layers.Dense(1)
        self.log_k = self.add_weight(shape=(), initializer="zeros", name="log_k")

    def temperature(self, t):
        for layer in self.hidden:
            t = layer(t)
        return self.last(t)

    def build(self, input_shape):
        for layer in [*self.hidden, self.last]:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, t):
        u, du_dt = slope(self.temperature, t)
        return {"u": u, "du_dt": du_dt, "k": ops.exp(self.log_k) * ops.ones_like(u)}


def build_model():
    model = Cooling()
    model.build((None, 1))
    return model


def measurement(y_true, y_pred, measured):
    """Squared error where there is a measurement, shape (batch, 1)."""
    return ops.reshape(measured, (-1, 1)) * ops.square(y_true - y_pred)


def law(u, du_dt, k):
    """Squared violation of Newton's law of cooling, shape (batch, 1)."""
    return ops.square(du_dt + k * (u - ROOM))


def make_objective():
    return lp.Objective(
        [
            lp.Term(measurement, output="u", target="u", measured=lp.target("measured"), weight=16.0),
            # du_dt and k are bound by name; "u" is also a target, so it has to be said which is meant.
            lp.Term(law, u=lp.output("u")),
        ]
    )


def main():
    keras.utils.set_random_seed(8)
    time, temperature, measured = make_data()
    model = build_model()
    trainer = lp.Trainer(model, make_objective())
    trainer.compile(keras.optimizers.Adam(0.01))
    history = trainer.fit(time, {"u": temperature, "measured": measured}, epochs=400, batch_size=64, verbose=0).history
    for name, values in history.items():
        print(f"{name:12s} {values[0]:.5f} -> {values[-1]:.5f}")
    print(f"k = {float(np.exp(keras.ops.convert_to_numpy(model.log_k))):.2f}, true {K}")


if __name__ == "__main__":
    main()
