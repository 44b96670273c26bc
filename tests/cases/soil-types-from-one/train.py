import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(25)
rng = np.random.default_rng(25)

# soil types as they stand in the survey: 1 sand, 2 silt, 3 clay, 4 peat
soil = rng.integers(1, 5, size=800)
centers = rng.normal(size=(5, 8))
x = (centers[soil] + 0.7 * rng.normal(size=(800, 8))).astype("float32")

model = keras.Sequential(
    [
        layers.Input((8,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(4, activation="softmax"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x, soil, batch_size=32, epochs=10, verbose=0)
print("loss", np.round(history.history["loss"], 3))
print("accuracy", np.round(history.history["accuracy"], 3))
called = model.predict(x, verbose=0).argmax(axis=1)
print("calls per column", np.bincount(called, minlength=4))
