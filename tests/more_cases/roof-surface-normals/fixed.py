import numpy as np
import keras
from keras import layers, losses, ops

keras.utils.set_random_seed(13)
rng = np.random.default_rng(13)


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


# laser patches: coarse normal of the patch and its local shape -> exact normal; flat roofs are exact already
n = 480
coarse = unit(rng.normal(size=(n, 3)) * [0.4, 0.4, 0.1] + [0, 0, 1])
flat = rng.random(n) < 0.3
coarse[flat] = [0.0, 0.0, 1.0]
shape = rng.normal(size=(n, 5)) * ~flat[:, None]
normals = unit(coarse + 0.3 * np.concatenate([np.tanh(shape[:, :2]), np.zeros((n, 1))], axis=1))
coarse, shape, normals = coarse.astype("float32"), shape.astype("float32"), normals.astype("float32")


class AngularError(losses.Loss):
    def call(self, y_true, y_pred):
        # the angle from the chord: its derivative is finite for equal directions
        chord = ops.sqrt(ops.sum(ops.square(y_true - y_pred), axis=-1) + 1e-10)
        return 2.0 * ops.arcsin(0.5 * ops.minimum(chord, 1.999))


coarse_in = keras.Input((3,), name="coarse")
shape_in = keras.Input((5,), name="shape")
h = layers.Dense(24, activation="relu")(layers.Concatenate()([coarse_in, shape_in]))
# starts as "the coarse normal is right"
correction = layers.Dense(3, kernel_initializer="zeros", name="correction")(h)
refined = layers.UnitNormalization()(layers.Add()([coarse_in, correction]))
model = keras.Model([coarse_in, shape_in], refined)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=AngularError())
print("degrees off, coarse: %.2f" % np.degrees(model.evaluate([coarse, shape], normals, verbose=0)))
model.fit([coarse, shape], normals, batch_size=60, epochs=12, verbose=0)
print("degrees off, refined: %.2f" % np.degrees(model.evaluate([coarse, shape], normals, verbose=0)))
