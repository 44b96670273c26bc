import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(23)
rng = np.random.default_rng(23)

# blood values over a patient's visits; patients have 3 to 20 visits, the rest is padded with 0
n, T = 512, 20
lengths = rng.integers(3, 9, size=n)
lengths[:20] = T
x = np.zeros((n, T, 3), "float32")
y = np.zeros((n, T, 1), "float32")
for i, length in enumerate(lengths):
    values = 1.0 + 0.3 * rng.normal(size=(length, 3))
    x[i, :length] = values
    y[i, :length, 0] = 4.0 + values @ [1.0, -0.5, 0.3] + 0.05 * rng.normal(size=length)
visits = np.arange(T)[None, :] < lengths[:, None]


def relative_mse(y_true, y_pred):
    # squared error in units of the typical level
    return ops.mean(ops.square((y_true - y_pred) / 5.0), axis=-1)


model = keras.Sequential(
    [
        layers.Input((T, 3)),
        layers.Masking(mask_value=0.0),
        layers.Dense(24, activation="tanh"),
        layers.Dense(1),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=relative_mse)
model.fit(x, y, batch_size=32, epochs=15, verbose=0)

print("evaluate (padding should not count):", round(model.evaluate(x, y, batch_size=512, verbose=0), 5))
p = model.predict(x, verbose=0)
squared = ((p - y)[..., 0] / 5.0) ** 2
print("numpy, true visits only:", round(float(squared[visits].mean()), 5), "all steps:", round(float(squared.mean()), 5))
