import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(27)
rng = np.random.default_rng(27)

# engine noise from few recordings: start with strong weight decay, relax it later
x = rng.normal(size=(320, 12)).astype("float32")
y = (2.0 * np.tanh(x[:, :1] + x[:, 1:2]) + x[:, 2:3]).astype("float32")

class DecayedDense(layers.Dense):
    """Dense with an L2 whose strength is a weight of the layer, so that a callback can set it."""

    def build(self, input_shape):
        super().build(input_shape)
        self.l2 = self.add_weight(shape=(), initializer=keras.initializers.Constant(0.1), trainable=False, name="l2")

    def call(self, inputs):
        self.add_loss(self.l2 * ops.sum(ops.square(self.kernel)))
        return super().call(inputs)


class Relax(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        for layer in self.model.layers:
            layer.l2.assign(0.1 if epoch < 5 else 0.0)
        if epoch == 5:
            print("weight decay is off")


model = keras.Sequential(
    [
        layers.Input((12,)),
        DecayedDense(48, activation="tanh"),
        DecayedDense(1),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse", metrics=["mse"])
history = model.fit(x, y, batch_size=32, epochs=40, callbacks=[Relax()], verbose=0)
print("loss per 5 epochs", np.round(history.history["loss"][4::5], 3))
print("mse  per 5 epochs", np.round(history.history["mse"][4::5], 3))
