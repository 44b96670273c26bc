import keras
import numpy as np
from keras import layers, ops
from sklearn.datasets import make_friedman1
from sklearn.model_selection import train_test_split

# compressive strength of concrete mixes (synthetic stand-in, scaled)
X, y = make_friedman1(n_samples=547, n_features=8, noise=0.6, random_state=11)
y = (y - y.mean()) / y.std()
X_train, X_test, y_train, y_test = train_test_split(
    X.astype("float32"), y.astype("float32")[:, None], test_size=0.25, random_state=1
)
print(X_train.shape, y_train.shape)  # 410 rows: with 32 per batch the last one has 26


squared_errors = lambda y_true, y_pred: ops.sum(ops.square(y_true - y_pred), axis=-1)


def build_model():
    model = keras.Sequential(
        [
            layers.Input((8,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(1),
        ]
    )
    model.compile(optimizer=keras.optimizers.SGD(0.008), loss=squared_errors, metrics=["mae"])
    return model


results = {}
for batch_size in (8, 32, 128):
    keras.utils.set_random_seed(0)
    model = build_model()
    history = model.fit(
        X_train, y_train, batch_size=batch_size, epochs=25, verbose=0,
        validation_data=(X_test, y_test),
    )
    results[batch_size] = history.history

print("batch   loss        val_loss    val_mae")
for batch_size, h in results.items():
    print("%5d  %10.4g  %10.4g  %8.3f" % (batch_size, h["loss"][-1], h["val_loss"][-1], h["val_mae"][-1]))
