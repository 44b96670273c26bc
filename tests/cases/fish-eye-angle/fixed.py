import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(6)
rng = np.random.default_rng(6)

# viewing direction of a fish-eye camera: the gyro gives a direction, the image features correct its drift
n = 640
feats = rng.normal(size=(n, 8)).astype("float32")
gyro = rng.normal(size=(n, 3))
gyro = (gyro / np.linalg.norm(gyro, axis=1, keepdims=True)).astype("float32")
moving = (rng.random(n) < 0.7).astype("float32")[:, None]
feats *= moving  # a camera at rest gives no motion features, and its gyro is exact
target = gyro + 0.4 * np.tanh(feats[:, :3])
target = (target / np.linalg.norm(target, axis=1, keepdims=True)).astype("float32")
target[moving[:, 0] == 0] = gyro[moving[:, 0] == 0]


def angular_error(y_true, y_pred):
    dot = ops.sum(y_true * y_pred, axis=-1)
    norms = ops.sqrt(ops.sum(y_true**2, axis=-1)) * ops.sqrt(ops.sum(y_pred**2, axis=-1))
    cos = ops.clip(dot / norms, -1.0 + 1e-6, 1.0 - 1e-6)
    return ops.arccos(cos) * 180.0 / np.pi


feat_in = keras.Input((8,), name="features")
gyro_in = keras.Input((3,), name="gyro")
h = layers.Dense(32, activation="tanh", use_bias=False)(feat_in)
drift = layers.Dense(3, use_bias=False)(h)
model = keras.Model([feat_in, gyro_in], layers.Add()([gyro_in, drift]))
model.compile(optimizer=keras.optimizers.Adam(0.003), loss=angular_error)
history = model.fit([feats, gyro], target, batch_size=32, epochs=12, verbose=0)
print("angular error by epoch", [round(v, 2) for v in history.history["loss"]])
pred = model.predict([feats, gyro], verbose=0)
cos = np.sum(pred * target, axis=1) / np.linalg.norm(pred, axis=1)
print("mean angle in degrees", float(np.degrees(np.arccos(np.clip(cos, -1, 1))).mean()))
