import os
import tempfile

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(51)
rng = np.random.default_rng(51)

# strain of a bridge in micrometres per metre: errors below 20 are noise, above they are outliers
x = rng.normal(size=(600, 8)).astype("float32")
y = (40 * x[:, :1] + 25 * np.abs(x[:, 1:2]) + 5 * rng.normal(size=(600, 1))).astype("float32")
y[::20] += 400

model = keras.Sequential([layers.Input((8,)), layers.Dense(32, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=keras.losses.Huber(delta=20.0))
model.fit(x, y, batch_size=32, epochs=15, verbose=0)
print("loss before saving %.3f" % model.evaluate(x, y, verbose=0))

path = os.path.join(tempfile.mkdtemp(), "strain.keras")
model.save(path)
restored = keras.models.load_model(path)
print("loss after loading %.3f" % restored.evaluate(x, y, verbose=0))
restored.fit(x, y, batch_size=32, epochs=3, verbose=0)
