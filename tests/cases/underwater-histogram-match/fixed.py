import numpy as np
import keras
from keras import layers

from enhance_losses_soft import make_enhancement_loss

keras.utils.set_random_seed(14)
rng = np.random.default_rng(14)

# clear patches and their murky versions: contrast washed out, a veil, noise
n, size = 240, 16
grid = np.linspace(0, 1, size)
phase = rng.uniform(0, 6.28, size=(n, 1, 1))
freq = rng.uniform(4, 14, size=(n, 1, 1))
clear = 0.5 + 0.45 * np.sin(freq * grid[None, :, None] + phase) * np.cos(freq * 0.7 * grid[None, None, :])
veil = rng.uniform(0.3, 0.6, size=(n, 1, 1))
murky = veil + 0.2 * (clear - 0.5) + 0.12 * rng.normal(size=clear.shape)
clear = clear[..., None].astype("float32")
murky = murky[..., None].astype("float32")
train, test = slice(0, 200), slice(200, None)


def hist(a):
    return np.stack([np.histogram(i, bins=16, range=(0, 1))[0] / i.size for i in a])


def train_with(hist_weight):
    keras.utils.set_random_seed(14)
    inp = keras.Input((size, size, 1))
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(inp)
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(x)
    out = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)
    model = keras.Model(inp, out)
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=make_enhancement_loss(hist_weight))
    model.fit(murky[train], clear[train], batch_size=20, epochs=8, verbose=0)
    pred = model.predict(murky[test], verbose=0)
    print("weight %4.1f  pixel error %.5f  histogram distance %.5f" % (
        hist_weight, np.abs(pred - clear[test]).mean(), np.abs(hist(pred) - hist(clear[test])).sum(axis=1).mean()))


for w in (0.0, 0.5, 5.0):
    train_with(w)
