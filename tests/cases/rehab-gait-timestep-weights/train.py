import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(28)
rng = np.random.default_rng(28)

STEPS = 30
n = 320

# knee angle from shoe sensors; the motion capture system loses its markers in half of the frames
sensors = np.cumsum(rng.normal(size=(n, STEPS, 5)), axis=1).astype("float32") * 0.3
mix = rng.normal(size=(5, 1))
knees = np.tanh(sensors @ mix).astype("float32")
lost = np.zeros((n, STEPS), dtype=bool)
for i in range(n):
    start = rng.integers(0, STEPS // 2)
    lost[i, start : start + STEPS // 2] = True
recorded = knees.copy()
recorded[lost] = 3.0                                    # the value that the system writes then
visible = (~lost).astype("float32")


def angle_loss(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=1)


inputs = keras.Input((STEPS, 5))
h = layers.GRU(24, return_sequences=True)(inputs)
gait = keras.Model(inputs, layers.Dense(1)(h))
gait.compile(optimizer=keras.optimizers.Adam(1e-2), loss=angle_loss)

split = 256
history = gait.fit(
    sensors[:split],
    recorded[:split],
    sample_weight=visible[:split],
    validation_data=(sensors[split:], recorded[split:], visible[split:]),
    batch_size=32,
    epochs=12,
    verbose=0,
)
print("loss    ", np.round(history.history["loss"][::3], 4))
print("val_loss", np.round(history.history["val_loss"][::3], 4))
p = gait.predict(sensors[split:], verbose=0)
err = ((p - knees[split:]) ** 2).mean(-1)
print("mse of visible frames %.4f, of lost frames %.4f" % (err[~lost[split:]].mean(), err[lost[split:]].mean()))
