import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(44)
rng = np.random.default_rng(44)

plates = rng.normal(0.5, 0.05, size=(300, 8, 8, 1)).astype("float32")
scratched = rng.random(300) < 0.3
plates[scratched, :, 3:5] += 0.3
flags = scratched.astype("float32")[:, None]

inputs = keras.Input((8, 8, 1))
h = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
code = layers.Dense(12, activation="relu")(layers.Flatten()(h))
rebuilt = layers.Reshape((8, 8, 1), name="rebuilt")(layers.Dense(64)(code))
flag = layers.Dense(1, activation="sigmoid", name="flag")(code)
model = keras.Model(inputs, [rebuilt, flag])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=["mse", "binary_crossentropy"], loss_weights=[1.0, 0.2])


def batches(size=30):
    order = np.random.default_rng(0).permutation(len(plates))
    while True:
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield plates[rows], (plates[rows], flags[rows])


model.fit(batches(), steps_per_epoch=10, epochs=3, verbose=2)
