import keras
import numpy as np
from keras.layers import Activation, Dense
from keras.models import Sequential

keras.utils.set_random_seed(31)
rng = np.random.default_rng(31)

# daily rain of the next day in mm: mostly dry or drizzle, now and then a cloudburst
n = 3000
features = rng.normal(size=(n, 8)).astype("float32")
drizzle = np.maximum(0.0, 1.0 + features[:, 0] + 0.5 * features[:, 1]) * rng.uniform(0.5, 1.5, n)
cloudburst = np.where(rng.random(n) < 0.01, rng.uniform(30, 90, n), 0.0)
rain = (drizzle + cloudburst).astype("float32").reshape(-1, 1)

x_train, y_train = features[:2000], rain[:2000]
x_test, y_test = features[2000:], rain[2000:]


model = Sequential([keras.Input((8,)), Dense(32), Activation("relu"), Dense(1)])
model.compile(optimizer="adam", loss="mse", metrics=["mae", keras.metrics.RootMeanSquaredError(name="rmse")])
model.fit(x_train, y_train, epochs=5, batch_size=16, verbose=2)

loss, mae, keras_rmse = model.evaluate(x_test, y_test, batch_size=16, verbose=0)
pred = model.predict(x_test, verbose=0)
print("rmse  keras %.3f   numpy %.3f" % (keras_rmse, np.sqrt(np.mean((pred - y_test) ** 2))))
print("mae   keras %.3f   numpy %.3f" % (mae, np.mean(np.abs(pred - y_test))))
