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

def compiled_for(weights):
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=["mse", "mse"], loss_weights=weights)


compiled_for([1.0, 0.0])
model.fit(x, [temperature, wear], batch_size=32, epochs=5, verbose=0)
print("now learning the wear")
compiled_for([0.0, 1.0])
history = model.fit(x, [temperature, wear], batch_size=32, epochs=10, verbose=0)
print("wear_loss", np.round(history.history["wear_loss"], 3))
