import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(30)
rng = np.random.default_rng(30)

# find the clouds in a satellite tile and, as a regulariser, reconstruct the tile
n, size = 320, 12
yy, xx = np.mgrid[0:size, 0:size]
tiles = np.zeros((n, size, size, 1), "float32")
masks = np.zeros((n, size, size, 1), "float32")
for i in range(n):
    cy, cx, r = rng.uniform(2, size - 2, 2).tolist() + [rng.uniform(2, 4)]
    masks[i, ..., 0] = (yy - cy) ** 2 + (xx - cx) ** 2 < r**2
    tiles[i] = 0.7 * masks[i] + rng.normal(0.2, 0.1, size=(size, size, 1))


def dice_loss(y_true, y_pred, e=1e-6):
    axes = (1, 2, 3)
    intersection = ops.sum(y_true * y_pred, axis=axes)
    return 2.0 * intersection / (ops.sum(ops.square(y_true), axis=axes) + ops.sum(ops.square(y_pred), axis=axes) + e)


inputs = keras.Input((size, size, 1))
h = layers.Conv2D(12, 3, padding="same", activation="relu")(inputs)
h = layers.Conv2D(12, 3, padding="same", activation="relu")(h)
mask = layers.Conv2D(1, 1, activation="sigmoid", name="mask")(h)
tile = layers.Conv2D(1, 3, padding="same", name="tile")(h)
model = keras.Model(inputs, {"mask": mask, "tile": tile})
model.compile(
    optimizer=keras.optimizers.Adam(5e-3),
    loss={"mask": dice_loss, "tile": "mse"},
    loss_weights={"mask": 1.0, "tile": 0.1},
)
history = model.fit(tiles, {"mask": masks, "tile": tiles}, batch_size=32, epochs=8, verbose=0)
print("loss", np.round(history.history["loss"], 4))
found = model.predict(tiles, verbose=0)["mask"] > 0.5
print("cloud pixels found: %.1f %% of %d" % (100 * found[masks > 0].mean(), masks.sum()))
