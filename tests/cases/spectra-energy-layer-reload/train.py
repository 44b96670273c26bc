import os
import tempfile

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(16)
rng = np.random.default_rng(16)

# absorption spectra -> concentration of three substances
wl = np.linspace(0, 1, 40)
pure = np.stack([np.exp(-((wl - c) ** 2) / 0.01) for c in (0.25, 0.5, 0.7)])
conc = rng.gamma(2.0, 0.5, size=(900, 3)).astype("float32")
spectra = (conc @ pure + 0.05 * rng.normal(size=(900, 40))).astype("float32")


@keras.saving.register_keras_serializable(package="lab")
class CustomLayer(layers.Layer):
    """Adds a penalty on the energy of what passes through."""

    def __init__(self, a=0.0, **kwargs):
        super().__init__(**kwargs)
        self.a = a

    def call(self, x):
        self.add_loss(self.a * ops.mean(ops.square(x)))
        return x

    def get_config(self):
        config = super().get_config()
        return config


inputs = keras.Input((40,))
x = layers.Dense(32, activation="relu")(inputs)
x = layers.Dense(8)(x)
x = CustomLayer(a=0.5, name="code")(x)
x = layers.Dense(32, activation="relu")(x)
outputs = layers.Dense(3)(x)
model = keras.Model(inputs, outputs)
model.compile(optimizer=keras.optimizers.Adam(2e-3), loss="mse")
model.fit(spectra, conc, batch_size=60, epochs=8, verbose=0)
print("loss before saving:", round(model.evaluate(spectra, conc, verbose=0), 4))

path = os.path.join(tempfile.mkdtemp(), "my_model.keras")
model.save(path)

# second night: go on from the file
reconstructed_model = keras.models.load_model(path)
print("loss after loading:", round(reconstructed_model.evaluate(spectra, conc, verbose=0), 4))
reconstructed_model.fit(spectra, conc, batch_size=60, epochs=8, verbose=0)


def code_energy(m):
    code = keras.Model(m.inputs, m.get_layer("code").output).predict(spectra, verbose=0)
    return np.mean(code**2)


print("energy of the code: first night %.4f, second night %.4f" % (
    code_energy(model), code_energy(reconstructed_model)))
