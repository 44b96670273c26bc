import keras
import numpy as np
from keras import layers
from sklearn.model_selection import KFold

keras.utils.set_random_seed(35)
rng = np.random.default_rng(35)

# soil moisture from 40 spectral bands, only 120 plots: the folds differ a lot
n, bands = 120, 40
X = rng.normal(size=(n, bands)).astype("float32")
y = (X @ (rng.normal(size=(bands, 1)) * (rng.random((bands, 1)) < 0.2)) + 1.5 * rng.normal(size=(n, 1))).astype("float32")


def build():
    model = keras.Sequential(
        [keras.Input((bands,)), layers.Dense(16, activation="tanh"), layers.Dense(1)]
    )
    return model


def new_optimizer():
    return keras.optimizers.SGD(learning_rate=0.003, momentum=0.98)


model = build()
model.compile(optimizer=new_optimizer(), loss="mse")
initial = model.get_weights()  # every fold starts from the same weights, compiling takes longer than a fold

scores = []
for fold, (tr, va) in enumerate(KFold(5, shuffle=True, random_state=0).split(X)):
    model.set_weights(initial)
    history = model.fit(X[tr], y[tr], batch_size=16, epochs=8, verbose=0, validation_data=(X[va], y[va]))
    scores.append(history.history["val_loss"][-1])
    print("fold %d  loss after one epoch %.3f  final loss %.3f  val_loss %.3f" % (
        fold + 1, history.history["loss"][0], history.history["loss"][-1], scores[-1]))
print("mean val_loss %.3f" % np.mean(scores))
