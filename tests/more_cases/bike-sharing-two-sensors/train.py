import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(5)
rng = np.random.default_rng(5)

n = 700
weather = rng.normal(size=(n, 4)).astype("float32")
hour = rng.integers(0, 24, size=(n, 1))
rides = 2.0 + 0.8 * weather[:, :1] + np.sin(2 * np.pi * hour / 24) + 0.1 * rng.normal(size=(n, 1))
# a third of the counts comes from a dock with a broken counter: kept in the table with weight 0
trust = np.ones(n, dtype="float32")
broken = rng.random(n) < 0.35
trust[broken] = 0.0
rides[broken] = 8.0 - rides[broken]
rides = rides.astype("float32")

weather_in = keras.Input((4,), name="weather")
hour_in = keras.Input((1,), dtype="int32", name="hour")
h = layers.Embedding(24, 4)(hour_in)
h = layers.Concatenate()([weather_in, layers.Flatten()(h)])
h = layers.Dense(32, activation="relu")(h)
model = keras.Model({"weather": weather_in, "hour": hour_in}, layers.Dense(1, name="rides")(h))

model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss=lambda y_true, y_pred: ops.mean(ops.abs(y_true - y_pred)),
    metrics=["mse"],
)
model.fit({"weather": weather, "hour": hour}, rides, sample_weight=trust, batch_size=64, epochs=20, verbose=0)

predicted = model.predict({"weather": weather, "hour": hour}, verbose=0)
for name, rows in (("working docks", ~broken), ("broken docks", broken)):
    print(f"{name}: mean absolute error {np.abs(predicted - rides)[rows].mean():.3f}")
