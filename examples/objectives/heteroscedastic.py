"""Predict a rating together with how sure that is: one loss of two outputs.

Keras gives each output a loss of its own. The Gaussian likelihood needs both outputs at once (Nix and Weigend 1994), so
people concatenate them into one and slice it again in the loss. Here the loss takes both by name.
"""

import keras
import numpy as np
from keras import layers, ops

import lossproof as lp


def make_data(n=800):
    """Ratings whose spread grows with the first feature: x of shape (n, 3), ratings of shape (n, 1)."""
    rng = np.random.default_rng(4)
    x = rng.uniform(-1.0, 1.0, (n, 3))
    spread = np.exp(-1.0 + 1.2 * x[:, :1])
    rating = np.sin(2.0 * x[:, 1:2]) + x[:, 2:] + spread * rng.normal(size=(n, 1))
    return x.astype("float32"), rating.astype("float32")


def build_model():
    x = keras.Input((3,), name="features")
    h = layers.Dense(24, activation="tanh")(x)
    outputs = {"rating": layers.Dense(1, name="rating")(h), "log_var": layers.Dense(1, name="log_var")(h)}
    return keras.Model(x, outputs)


def gaussian_nll(y_true, mean, log_var):
    """Negative log-likelihood of N(mean, exp(log_var)) without its constant, shape (batch, 1)."""
    return 0.5 * (ops.exp(-log_var) * ops.square(y_true - mean) + log_var)


def make_objective():
    return lp.Objective(
        [lp.Term(gaussian_nll, y_true=lp.target("rating"), mean=lp.output("rating"), log_var=lp.output("log_var"))]
    )


def main():
    keras.utils.set_random_seed(4)
    x, rating = make_data()
    model = build_model()
    trainer = lp.Trainer(model, make_objective())
    trainer.compile(keras.optimizers.Adam(0.01), metrics={"rating": ["mae"]})
    history = trainer.fit(x, {"rating": rating}, epochs=20, batch_size=40, verbose=0).history
    for name, values in history.items():
        print(f"{name:14s} {values[0]:.4f} -> {values[-1]:.4f}")
    spread = np.exp(0.5 * model.predict(x, verbose=0)["log_var"])
    for low, high in ((-1.0, 0.0), (0.0, 1.0)):
        rows = (x[:, 0] >= low) & (x[:, 0] < high)
        true = np.exp(-1.0 + 1.2 * x[rows, 0]).mean()
        print(f"first feature in {low:+.0f} ... {high:+.0f}: spread {spread[rows].mean():.2f}, true {true:.2f}")


if __name__ == "__main__":
    main()
