import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(49)
rng = np.random.default_rng(49)

# angry or friendly letters to the editor: 30 word counts each, noisy labels
n, folds = 400, 5
x = rng.poisson(1.0, size=(n, 30)).astype("float32")
y = (x @ rng.normal(size=30) + 4.0 * rng.normal(size=n) > 0).astype("float32")[:, None]

def build_model():
    encoder = keras.Sequential([layers.Input((30,)), layers.Dense(128, activation="relu"), layers.Dense(64, activation="relu")])
    inputs = keras.Input((30,))
    outputs = layers.Dense(1, activation="sigmoid")(encoder(inputs))
    model = keras.Model(inputs, outputs)
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="binary_crossentropy", metrics=["accuracy"])
    return model


parts = np.array_split(rng.permutation(n), folds)
for fold in range(folds):
    test = parts[fold]
    train = np.concatenate([parts[k] for k in range(folds) if k != fold])
    model = build_model()
    history = model.fit(x[train], y[train], batch_size=32, epochs=12, validation_data=(x[test], y[test]), verbose=0)
    print("fold", fold + 1, "validation accuracy per 3 epochs", np.round(history.history["val_accuracy"][2::3], 3))
