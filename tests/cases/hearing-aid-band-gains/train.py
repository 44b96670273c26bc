import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(29)
rng = np.random.default_rng(29)

# gain per frequency band between 0 (noise) and 1 (speech) from 12 band energies
n, bands = 1200, 6
speech = rng.gamma(2.0, 1.0, size=(n, bands))
noise = rng.gamma(2.0, 1.0, size=(n, bands))
x = np.log(np.concatenate([speech + noise, noise + 0.1 * rng.random((n, bands))], axis=1)).astype("float32")
gain = (speech / (speech + noise)).astype("float32")


def band_crossentropy(y_true, y_pred):
    # bands near 0.5 are undecided and count less
    importance = 2 * ops.abs(y_true - 0.5)
    return ops.mean(importance * bce(y_pred, y_true), axis=-1)


def bce(target, output):
    output = ops.clip(output, keras.config.epsilon(), 1 - keras.config.epsilon())
    return -(target * ops.log(output) + (1 - target) * ops.log(1 - output))


model = keras.Sequential(
    [
        layers.Input((2 * bands,)),
        layers.Dense(48, activation="tanh"),
        layers.Dense(bands, activation="sigmoid"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=band_crossentropy, metrics=["mae"])
history = model.fit(x, gain, batch_size=32, epochs=12, verbose=0)
print("loss", np.round(history.history["loss"], 3))
print("mean error of the gain", np.round(history.history["mae"], 3))
print("true", gain[0].round(2))
print("predicted", model.predict(x[:1], verbose=0)[0].round(2))
