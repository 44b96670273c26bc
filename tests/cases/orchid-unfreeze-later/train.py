import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(48)
rng = np.random.default_rng(48)

# a base trained on garden flowers is tuned to orchids: first the head alone, then everything
n = 600
x = rng.normal(size=(n, 16)).astype("float32")
kind = (x[:, :4] * x[:, 4:8]).argmax(axis=1)

base = keras.Sequential([layers.Input((16,)), layers.Dense(32, activation="relu"), layers.Dense(32, activation="relu")])
base.trainable = False
model = keras.Sequential([layers.Input((16,)), base, layers.Dense(4, activation="softmax")])
model.compile(
    optimizer=keras.optimizers.Adam(5e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
)
model.fit(x, kind, batch_size=32, epochs=5, verbose=0)
before = [w.copy() for w in base.get_weights()]

base.trainable = True
print("trainable weights now:", len(model.trainable_weights))
history = model.fit(x, kind, batch_size=32, epochs=15, verbose=0)
moved = sum(float(np.abs(a - b).sum()) for a, b in zip(before, base.get_weights()))
print("accuracy", np.round(history.history["accuracy"][::4], 3), "the base moved by", round(moved, 3))
