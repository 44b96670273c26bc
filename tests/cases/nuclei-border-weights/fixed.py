import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(12)
rng = np.random.default_rng(12)

SIZE = 32


def draw_cells(count):
    yy, xx = np.mgrid[:SIZE, :SIZE]
    images, masks, borders = [], [], []
    for _ in range(count):
        mask = np.zeros((SIZE, SIZE), "float32")
        for cy in (8, 22):
            r, cx = rng.integers(4, 7), rng.integers(8, 24)
            mask[(yy - cy) ** 2 + (xx - cx) ** 2 <= r**2] = 1.0
        gap = np.zeros_like(mask)
        gap[14:17, :] = 12.0                      # keep the two cells apart
        images.append(mask + 0.7 * rng.normal(size=mask.shape))
        masks.append(mask)
        borders.append(1.0 + gap * (1 - mask))
    return np.array(images, "float32")[..., None], np.array(masks), np.array(borders, "float32")


class CellSequence(keras.utils.PyDataset):
    """One picture at a time, as in the U-Net paper. The weight map travels as second channel of the target."""

    def __init__(self, images, masks, borders, **kwargs):
        super().__init__(**kwargs)
        self.images, self.targets = images, np.stack([masks, borders], axis=-1)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i : i + 1], self.targets[i : i + 1]


def weighted_bce(y_true, y_pred):
    mask, weight = y_true[..., :1], y_true[..., 1:]
    bce = ops.binary_crossentropy(mask, y_pred)
    return ops.mean(weight * bce, axis=(1, 2, 3))


inputs = layers.Input((SIZE, SIZE, 1))
h = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
h = layers.Conv2D(8, 3, padding="same", activation="relu")(h)
outputs = layers.Conv2D(1, 1, activation="sigmoid")(h)
unet = keras.Model(inputs, outputs)
unet.compile(optimizer=keras.optimizers.Adam(3e-3), loss=weighted_bce)

images, masks, borders = draw_cells(100)
history = unet.fit(CellSequence(images, masks, borders), epochs=4, verbose=0)
print("loss", np.round(history.history["loss"], 4))

p = unet.predict(images, verbose=0)[..., 0]
pixel = -(masks * np.log(p + 1e-7) + (1 - masks) * np.log(1 - p + 1e-7))
print("weighted cross-entropy by numpy %.4f" % np.mean(borders * pixel))
inside = p[(borders > 1)]
print("false alarms in the gap %.4f" % (inside > 0.5).mean())
