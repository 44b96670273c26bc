import keras
import numpy as np
from keras import layers, ops
from keras import backend as K

keras.utils.set_random_seed(6)
keras.mixed_precision.set_dtype_policy("mixed_float16")
K.set_epsilon(1e-4)  # needed for float16

rng = np.random.default_rng(6)


def make_images(n, size=16):
    """smooth random textures, 0..255 like 8 bit images"""
    yy, xx = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    out = np.empty((n, size, size, 1), "float32")
    for i in range(n):
        fx, fy, ph = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0, 6.28)
        out[i, ..., 0] = 127.5 + 110 * np.sin(fx * xx + fy * yy + ph)
    return out


hr = make_images(320)
lr = hr.reshape(-1, 8, 2, 8, 2, 1).mean(axis=(2, 4))
lr_train, hr_train, lr_valid, hr_valid = lr[:256], hr[:256], lr[256:], hr[256:]


class FeatureEnergy(layers.Layer):
    """Penalty on the energy of the feature maps of an image."""

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, x):
        energy = ops.sum(ops.square(ops.cast(x, "float32")), axis=(1, 2, 3))
        self.add_loss(self.rate * ops.mean(energy))
        return x

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


def res_block(x, filters):
    y = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(filters, 3, padding="same")(y)
    y = layers.Rescaling(0.1)(y)
    return layers.Add()([x, y])


inputs = keras.Input((8, 8, 1))
x = layers.Rescaling(1.0, offset=-127.5)(inputs)
x = head = layers.Conv2D(16, 3, padding="same")(x)
x = res_block(x, 16)
x = layers.Add()([x, head])
x = FeatureEnergy(1e-6)(x)
x = layers.Conv2D(4, 3, padding="same")(x)
x = layers.Reshape((8, 8, 2, 2))(x)
x = layers.Permute((1, 3, 2, 4))(x)
x = layers.Reshape((16, 16, 1))(x)
outputs = layers.Rescaling(1.0, offset=127.5, dtype="float32")(x)
model = keras.Model(inputs, outputs)

model.compile(optimizer=keras.optimizers.Adam(2e-3), loss="mae")
stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True)
model.fit(
    lr_train, hr_train, validation_data=(lr_valid, hr_valid),
    batch_size=32, epochs=12, callbacks=[stop], verbose=2,
)
sr = model.predict(lr_valid, verbose=0)
print("psnr: %.2f dB" % (20 * np.log10(255 / np.sqrt(np.mean((sr - hr_valid) ** 2)))))
