import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(30)
rng = np.random.default_rng(30)

# flats: rent (hundreds) and days on the market. The days are large and noisy numbers,
# the rent is what matters.
n = 1000
flat = rng.normal(size=(n, 6)).astype("float32")
rent = (8 + 1.5 * flat[:, 0] + np.abs(flat[:, 1]) + 0.2 * rng.normal(size=n)).astype("float32")
days = (60 + 20 * flat[:, 2] + 40 * rng.normal(size=n)).astype("float32")
rent, days = rent[:, None], days[:, None]
tr, te = slice(0, 800), slice(800, None)


class CustomModel(keras.Model):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.rent_mae = keras.metrics.MeanAbsoluteError(name="rent_mae")

    def train_step(self, data):
        x, y = data

        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)  # Forward pass
            # Compute our own loss
            loss = 0.0
            for name in y_pred:
                loss += tf.reduce_mean(keras.losses.mean_squared_error(y[name], y_pred[name]))

        # Compute gradients
        trainable_vars = self.trainable_variables
        gradients = tape.gradient(loss, trainable_vars)

        # Update weights
        self.optimizer.apply_gradients(zip(gradients, trainable_vars))

        # Compute our own metrics
        self.loss_tracker.update_state(loss)
        self.rent_mae.update_state(y["rent"], y_pred["rent"])
        return {"loss": self.loss_tracker.result(), "rent_mae": self.rent_mae.result()}

    @property
    def metrics(self):
        return [self.loss_tracker, self.rent_mae]


def build():
    inputs = keras.Input((6,))
    shared = keras.layers.Dense(4, activation="tanh")(inputs)
    out = {
        "rent": keras.layers.Dense(1, name="rent")(shared),
        "days": keras.layers.Dense(1, name="days")(shared),
    }
    return CustomModel(inputs, out)


for w_days in (1.0, 0.001):
    keras.utils.set_random_seed(30)
    model = build()
    model.compile(
        optimizer=keras.optimizers.Adam(0.02),
        loss={"rent": "mse", "days": "mse"},
        loss_weights={"rent": 1.0, "days": w_days},
    )
    model.fit(flat[tr], {"rent": rent[tr], "days": days[tr]}, epochs=15, batch_size=40, verbose=0)
    pred = model.predict(flat[te], verbose=0)
    print("weight of the days %5.3f: rent mae %.5f  days mae %.3f" % (
        w_days, np.abs(pred["rent"] - rent[te]).mean(), np.abs(pred["days"] - days[te]).mean()))
