import keras
import numpy as np
from keras import ops
from sklearn.datasets import make_classification
from sklearn.preprocessing import StandardScaler

keras.utils.set_random_seed(7)

# mine (1) or rock (0) from sonar bands
X, labels = make_classification(
    n_samples=900, n_features=30, n_informative=12, n_redundant=6, class_sep=1.6, weights=[0.55], random_state=7
)
X = StandardScaler().fit_transform(X).astype("float32")
y = 2.0 * labels.astype("float32")[:, None] - 1.0
X_train, y_train, X_test, y_test = X[:700], y[:700], X[700:], y[700:]


@keras.saving.register_keras_serializable(package="sonar")
def hinge_loss(y_true, y_pred):
    return ops.mean(ops.maximum(1.0 - y_true * y_pred, 0.0), axis=-1)


def svm_like(n_inputs, hidden=16):
    inputs = keras.Input((n_inputs,))
    h = keras.layers.Dense(hidden, activation="relu")(inputs)
    score = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(1e-3), name="score")(h)
    return keras.Model(inputs, score)


model = svm_like(X.shape[1])
model.compile(optimizer=keras.optimizers.Adam(2e-3), loss=hinge_loss)

loader = (X_train, y_train)
history = model.fit(*loader, batch_size=32, epochs=20, validation_data=(X_test, y_test), verbose=0)
print("Hinge Loss :: ", [round(v, 3) for v in history.history["loss"][::4]])

score = model.predict(X_test, verbose=0)
mine = y_test[:, 0] > 0
print("mean score  mine %.2f  rock %.2f" % (score[mine].mean(), score[~mine].mean()))
print("called mine: %d of %d" % ((score > 0).sum(), len(score)))
print("accuracy: %.3f" % np.mean((score[:, 0] > 0) == mine))
