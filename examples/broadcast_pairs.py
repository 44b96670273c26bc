"""Forecast how many loaves a bakery will sell, where running out costs more than a loaf left over.

The sales are a vector of shape (N,), the predictions of `Dense(1)` have shape (N, 1). Keras aligns the two for its own
losses and for plain functions, but hands both to a subclass of `keras.losses.Loss` as they are: `y_true - y_pred` is
then a matrix of every day's sales against every day's forecast. Nothing raises, the loss even falls, and one number is
learned for all days. The cure is one line where the sales are made: `sales = sales[:, None]`.
"""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(11)
rng = np.random.default_rng(11)

# 640 days: weekday, temperature, rain, holiday nearby
weekday = rng.integers(0, 7, 640)
weather = rng.normal(size=(640, 2))
holiday = rng.random(640) < 0.1
days = np.column_stack([np.eye(7)[weekday], weather, holiday]).astype("float32")
sales = 3.0 + 0.8 * (weekday >= 5) + 0.5 * weather[:, 0] - 0.4 * weather[:, 1] + 1.2 * holiday  # in hundreds
sales = (sales + 0.15 * rng.normal(size=640)).astype("float32")


class StockoutCost(keras.losses.Loss):
    """Squared error, three times as dear where the forecast is too low."""

    def call(self, y_true, y_pred):
        short = y_true - y_pred
        cost = ops.where(short > 0, 3.0, 1.0) * ops.square(short)
        return ops.mean(cost, axis=-1)


model = keras.Sequential(
    [
        layers.Input((10,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(1),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=StockoutCost())
history = model.fit(days, sales, batch_size=32, epochs=15, verbose=0)

forecast = model.predict(days, verbose=0)[:, 0]
explained = 1.0 - np.mean((sales - forecast) ** 2) / np.var(sales)
print(f"loss: {history.history['loss'][0]:.3f} in the first epoch, {history.history['loss'][-1]:.3f} in the last")
print(f"sales    {sales.mean():.2f} +- {sales.std():.2f}")
print(f"forecast {forecast.mean():.2f} +- {forecast.std():.2f}")
print(
    f"the forecast explains {explained:.0%} of the variance, and falls short on {np.mean(forecast < sales):.0%} of days"
)
