import argparse
import sys

import numpy as np
import keras
from keras import layers

from wave_losses_columns import gaussian_nll


def make_buoys(n, seed):
    rng = np.random.default_rng(seed)
    wind = rng.uniform(2.0, 18.0, n)
    fetch = rng.uniform(0.2, 1.0, n)
    height = 0.02 * wind**2 * fetch + 0.05 * wind * rng.normal(size=n)
    x = np.stack([wind / 18.0, fetch], axis=1)
    return x.astype("float32"), height[:, None].astype("float32")


def build_forecaster(units):
    inputs = keras.Input((2,))
    h = layers.Dense(units, activation="tanh")(inputs)
    h = layers.Dense(units, activation="tanh")(h)
    return keras.Model(inputs, layers.Dense(2)(h))


def main(argv=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--units", type=int, default=24)
    parser.add_argument("--batch-size", type=int, default=50)
    args = parser.parse_args(argv)

    keras.utils.set_random_seed(3)
    x, y = make_buoys(600, 3)
    model = build_forecaster(args.units)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=gaussian_nll)
    model.fit(x, y, batch_size=args.batch_size, epochs=args.epochs, validation_split=0.2, verbose=0)

    x_new, y_new = make_buoys(300, 4)
    mean, log_var = np.split(model.predict(x_new, verbose=0), 2, axis=1)
    print("correlation of mean and height %.3f" % np.corrcoef(mean[:, 0], y_new[:, 0])[0, 1])
    print("rmse %.3f, predicted sigma %.3f" % (np.sqrt(np.mean((mean - y_new) ** 2)), np.exp(0.5 * log_var).mean()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
