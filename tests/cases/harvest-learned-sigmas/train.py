import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(8)
rng = np.random.default_rng(8)

# harvest forecast: yield in t/ha (noise 0.3) and water use in mm (noise 12)
soil = rng.normal(size=(800, 6)).astype("float32")
tons = (soil[:, :1] + 0.3 * rng.normal(size=(800, 1))).astype("float32")
water = (30 * soil[:, 1:2] + 12 * rng.normal(size=(800, 1))).astype("float32")


class UncertaintyLoss(keras.losses.Loss):
    """Kendall et al. 2018: the weight of the task is learned as exp(-log_var)."""

    def __init__(self, name):
        super().__init__(name=name)
        self.log_var = keras.Variable(0.0, trainable=True, name="log_var_" + name)

    def call(self, y_true, y_pred):
        squared = ops.mean(ops.square(y_true - y_pred), axis=-1)
        return ops.exp(-self.log_var) * squared + self.log_var


yield_loss = UncertaintyLoss("yield")
water_loss = UncertaintyLoss("water")

inputs = keras.Input((6,))
h = layers.Dense(24, activation="relu")(inputs)
model = keras.Model(inputs, {"yield": layers.Dense(1, name="yield")(h), "water": layers.Dense(1, name="water")(h)})
model.compile(optimizer=keras.optimizers.Adam(0.02), loss={"yield": yield_loss, "water": water_loss})
history = model.fit(soil, {"yield": tons, "water": water}, batch_size=40, epochs=60, verbose=0)

print("loss", round(history.history["loss"][-1], 2))
for loss in (yield_loss, water_loss):
    print(loss.name, "weight", float(np.exp(-ops.convert_to_numpy(loss.log_var))))
pred = model.predict(soil, verbose=0)
print("rmse yield", float(np.sqrt(np.mean((pred["yield"] - tons) ** 2))))
print("rmse water", float(np.sqrt(np.mean((pred["water"] - water) ** 2))))
