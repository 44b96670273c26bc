import keras
import numpy as np
import pandas as pd
from keras.layers import Activation, BatchNormalization, Dense, Dropout
from keras.models import Sequential
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

# blood donors: does the donor come back within three months?
n = 1200
df = pd.DataFrame(
    {
        "recency": rng.gamma(2.0, 4.0, n),
        "frequency": rng.poisson(5, n) + 1,
        "months": rng.uniform(2, 90, n),
        "age": rng.uniform(18, 70, n),
    }
)
z = -0.25 * (df.recency - 8) + 0.35 * (df.frequency - 6) + 0.01 * (df.age - 44)
df["back"] = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(int)

X = MinMaxScaler().fit_transform(df.drop(columns="back")).astype("float32")
Y = df["back"].values.astype("float32").reshape(-1, 1)
x_train, x_test, y_train, y_test = train_test_split(X, Y, test_size=0.25, random_state=0)

model = Sequential()
model.add(keras.Input((4,)))
model.add(Dense(32))
model.add(BatchNormalization())
model.add(Activation("relu"))
model.add(Dropout(0.2))
model.add(Dense(16))
model.add(BatchNormalization())
model.add(Activation("relu"))
model.add(Dense(1))
model.add(Activation("sigmoid"))

# tried 0.1, 0.01 and 0.001, always the same
model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(learning_rate=0.001), metrics=["accuracy"])
model.fit(x_train, y_train, batch_size=32, epochs=15, validation_data=(x_test, y_test), verbose=2)

print("came back: %.3f" % y_test.mean())
print("predictions:", np.unique(model.predict(x_test, verbose=0).round(2))[:10])
