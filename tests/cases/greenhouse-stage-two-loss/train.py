import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(53)
rng = np.random.default_rng(53)

# tomato yield per row; some rows have a wrong entry (a unit mixed up), so the second half of training is robust
x = rng.normal(size=(600, 6)).astype("float32")
truth = 5.0 + x @ rng.normal(size=(6, 1)) * 0.6
yields = truth + 0.1 * rng.normal(size=truth.shape)
mixed_up = rng.random(600) < 0.12
yields[mixed_up] *= 6.0
yields = yields.astype("float32")


def absolute_error(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


class RobustStage(keras.callbacks.Callback):
    def __init__(self, start):
        super().__init__()
        self.start = start

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.start:
            self.model.loss = absolute_error
            print("epoch", epoch, "now trained with", self.model.loss.__name__)


model = keras.Sequential([layers.Input((6,)), layers.Dense(24, activation="relu"), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mean_squared_error")
history = model.fit(x, yields, batch_size=50, epochs=40, callbacks=[RobustStage(10)], verbose=0)
print("loss", np.round(history.history["loss"][::5], 3))
p = model.predict(x, verbose=0)
print("mean absolute error to the entries %.3f" % np.abs(p - yields).mean())
print("mean absolute error to the true yields %.3f, bias %.3f" % (np.abs(p - truth).mean(), (p - truth).mean()))
