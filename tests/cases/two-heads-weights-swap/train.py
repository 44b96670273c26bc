import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(26)
rng = np.random.default_rng(26)

# first learn the temperature of a furnace, then its wear; hand over with loss weights
n = 640
x = rng.normal(size=(n, 10)).astype("float32")
temperature = (x @ rng.normal(size=10))[:, None].astype("float32")
wear = (np.tanh(x @ rng.normal(size=10)) + 0.05 * rng.normal(size=n))[:, None].astype("float32")

inputs = keras.Input((10,))
h = layers.Dense(32, activation="relu")(inputs)
outputs = [layers.Dense(1, name="temperature")(h), layers.Dense(1, name="wear")(h)]
model = keras.Model(inputs, outputs)

alpha = keras.Variable(1.0, trainable=False)
beta = keras.Variable(0.0, trainable=False)


class HandOver(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 5:
            alpha.assign(0.0)
            beta.assign(1.0)
            print("now learning the wear")


model.compile(
    optimizer=keras.optimizers.Adam(1e-2),
    loss=["mse", "mse"],
    loss_weights=[alpha, beta],
)
history = model.fit(x, [temperature, wear], batch_size=32, epochs=15, callbacks=[HandOver()], verbose=0)
print("wear_loss", np.round(history.history["wear_loss"], 3))
