import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from keras import layers, ops
from scipy.ndimage import distance_transform_edt as distance

keras.utils.set_random_seed(10)
rng = np.random.default_rng(10)

# 16x16 slices with one small lesion, as a 3-channel stack: image -> (mask, signed distance)
n, size = 320, 16
yy, xx = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
cy, cx = rng.uniform(4, 12, (n, 1, 1)), rng.uniform(4, 12, (n, 1, 1))
radius = rng.uniform(1.5, 3.5, (n, 1, 1))
mask = ((yy - cy) ** 2 + (xx - cx) ** 2 < radius**2).astype("float32")
image = mask + 0.8 * rng.normal(size=mask.shape)
image = image[..., None].astype("float32")


def calc_dist_map(seg):
    posmask = seg.astype(bool)
    negmask = ~posmask
    return distance(negmask) * negmask - (distance(posmask) - 1) * posmask


dist_map = np.stack([calc_dist_map(m) for m in mask]).astype("float32")
target = np.stack([mask, dist_map / size], axis=-1)
train, test = slice(0, 240), slice(240, None)

alpha = keras.Variable(1.0, trainable=False, name="alpha")


def surface_loss(y_true, y_pred):
    return ops.mean(y_pred[..., 0] * y_true[..., 1], axis=(1, 2))


def gl_sl_wrapper(alpha):
    def gl_sl(y_true, y_pred):
        region = ops.mean(ops.binary_crossentropy(y_true[..., 0], y_pred[..., 0]), axis=(1, 2))
        return alpha * region + (1 - alpha) * surface_loss(y_true, y_pred)

    return gl_sl


class AlphaScheduler(keras.callbacks.Callback):
    def __init__(self, alpha, step):
        super().__init__()
        self.alpha = alpha
        self.step = step

    def on_epoch_end(self, epoch, logs=None):
        updated_alpha = max(0.1, float(self.alpha.value) - self.step)
        self.alpha.assign(updated_alpha)
        print("epoch %2d  alpha %.2f  loss %.4f" % (epoch + 1, updated_alpha, logs["loss"]))


model = keras.Sequential(
    [
        keras.Input((size, size, 1)),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 1, activation="sigmoid"),
    ]
)
model.alpha = alpha  # the model has to know the variable, then it enters the jitted step
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=gl_sl_wrapper(alpha))
model.fit(image[train], target[train], batch_size=24, epochs=12, callbacks=[AlphaScheduler(alpha, 0.1)], verbose=0)

pred = model.predict(image[test], verbose=0)[..., 0]
print("mean probability in the ring around a lesion: %.3f" % pred[(dist_map[test] > 0) & (dist_map[test] < 1.5)].mean())
print("surface loss on the test slices: %.5f" % np.mean(pred * dist_map[test] / size))
