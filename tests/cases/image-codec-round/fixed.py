"""Learned compression of 8x8 patches: encoder, scalar quantizer, decoder."""
import keras
import numpy as np
from keras import layers, ops
from sklearn.datasets import load_digits

keras.utils.set_random_seed(2)

patches = (load_digits().images / 16.0).astype("float32")[..., None]
train, valid = patches[:1400], patches[1400:]


class Quantizer(layers.Layer):
    """Rounds the code to a grid of the given step."""

    def __init__(self, step=0.25, **kwargs):
        super().__init__(**kwargs)
        self.step = step
        self.seed_generator = keras.random.SeedGenerator(2)

    def call(self, code, training=False):
        if training:
            # noise of the width of a step instead of rounding
            half = self.step / 2
            return code + keras.random.uniform(ops.shape(code), -half, half, seed=self.seed_generator)
        return ops.round(code / self.step) * self.step

    def get_config(self):
        return {**super().get_config(), "step": self.step}


def make_encoder(channels=6):
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(48, activation="relu"),
            layers.Dense(channels, activation="tanh"),
        ],
        name="encoder",
    )


def make_decoder(channels=6):
    return keras.Sequential(
        [
            keras.Input((channels,)),
            layers.Dense(48, activation="relu"),
            layers.Dense(64),
            layers.Reshape((8, 8, 1)),
        ],
        name="decoder",
    )


encoder, decoder = make_encoder(), make_decoder()
image = keras.Input((8, 8, 1))
codec = keras.Model(image, decoder(Quantizer(name="quantizer")(encoder(image))))

before = [np.array(w) for w in encoder.get_weights()]
codec.compile(optimizer=keras.optimizers.Adam(2e-3), loss="mse")
codec.fit(train, train, validation_data=(valid, valid), batch_size=50, epochs=12, verbose=2)

mse = codec.evaluate(valid, valid, verbose=0)
print("psnr on the validation patches: %.2f dB" % (-10 * np.log10(mse)))
moved = max(np.abs(a - b).max() for a, b in zip(before, encoder.get_weights()))
print("largest change of an encoder weight:", float(moved))
