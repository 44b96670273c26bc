import numpy as np
import keras
from keras import layers, losses, ops

keras.utils.set_random_seed(8)

STEPS, BATCH = 20, 32


class StepHuber(losses.Loss):
    def __init__(self, delta=0.5, name="step_huber"):
        super().__init__(name=name)
        self.delta = delta

    def call(self, y_true, y_pred):
        size = ops.abs(y_true - y_pred)
        quadratic = 0.5 * ops.square(size)
        linear = self.delta * (size - 0.5 * self.delta)
        return ops.mean(ops.where(size < self.delta, quadratic, linear), axis=-1)

    def get_config(self):
        return {"name": self.name, "delta": self.delta}


def recordings(seed):
    """Endless batches (speed, vibration, weight of each step): the run-up of 10 steps shall not count."""
    rng = np.random.default_rng(seed)
    weights = np.ones((BATCH, STEPS), "float32")
    weights[:, :10] = 0.0
    while True:
        speed = rng.normal(size=(BATCH, STEPS, 2))
        vibration = np.cumsum(0.3 * speed[..., :1], axis=1)
        vibration[:, :10] = -4.0  # sensor saturated while the rotor runs up
        yield speed.astype("float32"), vibration.astype("float32"), weights


model = keras.Sequential([layers.Input((STEPS, 2)), layers.GRU(16, return_sequences=True), layers.Dense(1)])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=StepHuber())
history = model.fit(recordings(0), steps_per_epoch=20, epochs=8, verbose=0)

speed, vibration, _ = next(recordings(1))
error = np.abs(model.predict(speed, verbose=0) - vibration)
print("loss %.4f" % history.history["loss"][-1])
print("error while running up %.3f, at speed %.3f" % (error[:, :10].mean(), error[:, 10:].mean()))
