from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import keras
from keras import ops as K
import numpy as np

keras.utils.set_random_seed(42)

X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X).astype("float32")
y = y.reshape(-1, 1).astype("float32")
x_train, x_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)


# first try: gave nan after some epochs
# def my_custom_loss(y_true, y_pred):
#     t_loss = (-1)*(y_true * K.log(y_pred) + (1 - y_true) * K.log(1 - y_pred))
#     return K.mean(t_loss)

# the stable version from the tensorflow documentation, the model returns logits now
def my_custom_loss(y_true, y_pred):
    t_loss = K.max(y_pred, 0) - y_pred * y_true + K.log(1 + K.exp((-1) * K.abs(y_pred)))
    return t_loss


model = keras.models.Sequential()
model.add(keras.layers.Input(shape=(30,)))
model.add(keras.layers.Dense(16, activation="relu"))
model.add(keras.layers.Dense(1))

model.compile(loss=my_custom_loss, optimizer=keras.optimizers.Adam(0.003))
model.fit(x_train, y_train, epochs=25, batch_size=32, verbose=0)

logits = model.predict(x_test, verbose=0)
predicted = (logits > 0).astype("float32")
print("loss on the test set:", round(model.evaluate(x_test, y_test, verbose=0), 4))
print("logits from %.2f to %.2f" % (logits.min(), logits.max()))
print("called benign: %.1f %% (true %.1f %%)" % (100 * predicted.mean(), 100 * y_test.mean()))
print("accuracy: %.3f" % np.mean(predicted == y_test))
