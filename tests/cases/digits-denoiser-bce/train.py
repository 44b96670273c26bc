import argparse

import keras
import numpy as np
from keras import layers, ops
from sklearn.datasets import load_digits

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--noise", type=float, default=0.25)
args = parser.parse_args()

keras.utils.set_random_seed(17)
rng = np.random.default_rng(17)

# grey 8x8 digits in 17 steps, denoising autoencoder
images = (load_digits().images / 16.0).astype("float32").reshape(-1, 64)
images = 0.1 + 0.8 * images  # the scanner never gives pure black or white
noisy = np.clip(images + args.noise * rng.normal(size=images.shape), 0, 1).astype("float32")
train, test = slice(0, 1500), slice(1500, None)


class Denoiser(keras.Model):
    def __init__(self, code=24, **kwargs):
        super().__init__(**kwargs)
        self.encoder = keras.Sequential([layers.Dense(64, activation="relu"), layers.Dense(code)])
        self.decoder = keras.Sequential([layers.Dense(64, activation="relu"), layers.Dense(64, activation="sigmoid")])

    def call(self, x):
        return self.decoder(self.encoder(x))


def reconstruction_loss(original, decoded):
    # summed over the pixels, not averaged, as in the paper
    return ops.sum(ops.binary_crossentropy(decoded, original), axis=-1)


model = Denoiser()
model.compile(optimizer=keras.optimizers.Adam(2e-3), loss=reconstruction_loss)
history = model.fit(noisy[train], images[train], batch_size=64, epochs=args.epochs, verbose=0,
                    validation_data=(noisy[test], images[test]))
for name in ("loss", "val_loss"):
    print(name, [round(v, 2) for v in history.history[name][::3]])

decoded = model.predict(noisy[test], verbose=0)
print("mean absolute error: noisy input %.3f  denoised %.3f" % (
    np.abs(noisy[test] - images[test]).mean(), np.abs(decoded - images[test]).mean()))
print("share of decoded pixels between 0.05 and 0.95: %.2f" % ((decoded > 0.05) & (decoded < 0.95)).mean())
