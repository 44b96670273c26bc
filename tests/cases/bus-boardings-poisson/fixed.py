import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(50)
rng = np.random.default_rng(50)

HOURS, STOPS = 24, 30
hour = rng.integers(0, HOURS, 2000)
stop = rng.integers(0, STOPS, 2000)
rate = 2.0 * np.exp(0.8 * np.sin(hour / 24 * 2 * np.pi) + 0.5 * rng.normal(size=STOPS)[stop])
boardings = rng.poisson(rate).astype("float32")


def batches(batch_size=50):
    while True:
        pick = rng.integers(0, len(boardings), batch_size)
        yield {"hour": hour[pick], "stop": stop[pick]}, boardings[pick, None]


hour_in = keras.Input((), dtype="int32", name="hour")
stop_in = keras.Input((), dtype="int32", name="stop")
h = layers.Concatenate()([layers.Embedding(HOURS, 4)(hour_in), layers.Embedding(STOPS, 4)(stop_in)])
h = layers.Dense(32, activation="relu")(h)
out = layers.Dense(1, activation="softplus", name="boardings")(h)
model = keras.Model({"hour": hour_in, "stop": stop_in}, out)
model.compile(optimizer=keras.optimizers.Adam(0.005), loss=keras.losses.Poisson(), metrics=["mae"])
history = model.fit(batches(), steps_per_epoch=40, epochs=8, verbose=0)
print("loss", [round(v, 4) for v in history.history["loss"]])
pred = model.predict({"hour": hour, "stop": stop}, verbose=0)[:, 0]
print("mean boardings", float(boardings.mean()), "mean prediction", float(pred.mean()))
print("correlation with the true rate", float(np.corrcoef(pred, rate)[0, 1]))
