import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(14)
rng = np.random.default_rng(14)

roads = np.zeros((192, 12, 12), "int32")
for road in roads:
    if rng.random() < 0.5:
        road[:, rng.integers(0, 10) :][:, :3] = 1
    else:
        road[rng.integers(0, 10) :][:3] = 1
images = (roads[..., None] + 0.6 * rng.normal(size=(192, 12, 12, 1))).astype("float32")

overlap = keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.5)


def overlap_loss(y_true, y_pred):
    # soft overlap of each image: probabilities instead of counted pixels
    both = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    either = ops.sum(y_true + y_pred - y_true * y_pred, axis=(1, 2, 3))
    return 1.0 - both / either


model = keras.Sequential(
    [
        layers.Input((12, 12, 1)),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 1, activation="sigmoid"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=overlap_loss, metrics=[overlap])
model.fit(images, roads[..., None], batch_size=32, epochs=6, verbose=2)

found = model.predict(images, verbose=0)[..., 0] > 0.5
print("intersection over union %.3f" % ((found & (roads == 1)).sum() / (found | (roads == 1)).sum()))
