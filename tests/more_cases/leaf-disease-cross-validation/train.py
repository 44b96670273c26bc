import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(64)
rng = np.random.default_rng(64)

disease = rng.integers(0, 2, 180)
leaves = (0.25 * disease[:, None, None, None] * rng.random((1, 8, 8, 1)) + rng.normal(0, 0.5, (180, 8, 8, 1))).astype("float32")

inputs = keras.Input((8, 8, 1))
h = layers.Conv2D(12, 3, activation="relu")(inputs)
h = layers.Flatten()(h)
h = layers.Dense(48, activation="relu")(h)
outputs = layers.Dense(1, activation="sigmoid")(h)

folds = np.array_split(np.random.default_rng(0).permutation(180), 3)
for k, held_out in enumerate(folds):
    train = np.concatenate([f for i, f in enumerate(folds) if i != k])
    model = keras.Model(inputs, outputs, name=f"fold_{k}")  # a new model for each fold
    model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(leaves[train], disease[train], batch_size=45, epochs=8, verbose=0)
    loss, accuracy = model.evaluate(leaves[held_out], disease[held_out], verbose=0)
    print(f"fold {k}: held-out loss {loss:.4f}, accuracy {accuracy:.3f}")
