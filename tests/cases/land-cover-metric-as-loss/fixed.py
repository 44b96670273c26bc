import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(62)
rng = np.random.default_rng(62)

# land cover of satellite pixels; -1 where clouds hide the ground
n = 1200
x = rng.normal(size=(n, 9)).astype("float32")
cover = (x @ rng.normal(size=(9, 4))).argmax(axis=1)
cover[rng.random(n) < 0.2] = -1



def custom_loss(y_true, y_pred):
    return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=False, ignore_class=-1)


model = keras.Sequential(
    [layers.Input((9,)), layers.Dense(32, activation="relu"), layers.Dense(4, activation="softmax")]
)
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=custom_loss)
history = model.fit(x, cover, batch_size=32, epochs=6, verbose=0)
print("loss", np.round(history.history["loss"], 3))
seen = cover >= 0
print("accuracy", (model.predict(x[seen], verbose=0).argmax(axis=1) == cover[seen]).mean().round(3))
