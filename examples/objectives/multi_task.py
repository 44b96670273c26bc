"""Read a digit and measure its ink, the balance of the two tasks learned (Kendall, Gal and Cipolla 2018).

Each task's log-variance is trained with the model, under plain `fit`; the weights that follow are among the logs.
"""

import keras
from keras import layers
from sklearn.datasets import load_digits

import lossproof as lp


def make_data():
    """Pixels (N, 64) in 0 ... 1; labels (N,) and the ink (N, 1), about 20 times what the pixels' mean is."""
    digits = load_digits()
    pixels = (digits.data / 16.0).astype("float32")
    return pixels, {"digit": digits.target.astype("int32"), "ink": 20.0 * pixels.mean(1, keepdims=True)}


def build_model():
    pixels = keras.Input((64,), name="pixels")
    h = layers.Dense(48, activation="relu", name="shared")(pixels)
    return keras.Model(pixels, {"digit": layers.Dense(10, name="digit")(h), "ink": layers.Dense(1, name="ink")(h)})


def make_objective():
    return lp.Objective(
        [
            lp.Term(keras.losses.SparseCategoricalCrossentropy(from_logits=True), name="label", output="digit"),
            lp.Term("mse", output="ink"),
        ],
        weighting=lp.weighting.Uncertainty(),
    )


def main():
    keras.utils.set_random_seed(9)
    x, y = make_data()
    trainer = lp.Trainer(build_model(), make_objective())
    trainer.compile(keras.optimizers.Adam(0.005), metrics={"digit": ["accuracy"], "ink": ["mae"]})
    history = trainer.fit(x, y, epochs=10, batch_size=50, verbose=0).history
    for name, values in history.items():
        print(f"{name:16s} {values[0]:.4f} -> {values[-1]:.4f}")


if __name__ == "__main__":
    main()
