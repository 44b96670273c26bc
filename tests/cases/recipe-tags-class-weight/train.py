import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(24)
rng = np.random.default_rng(24)

# recipes with several tags each; "nut free" is rare and must not be missed
tags = ["quick", "vegetarian", "baked", "nut free"]
n = 1600
x = rng.normal(size=(n, 20)).astype("float32")
scores = x @ rng.normal(size=(20, 4)) + rng.normal(0, 2.5, size=(n, 4))
y = (scores > [np.quantile(scores[:, k], q) for k, q in enumerate((0.35, 0.4, 0.6, 0.94))]).astype("float32")
counts = y.sum(axis=0)
class_weight = {i: float(counts.max() / counts[i]) for i in range(4)}
print("positives", dict(zip(tags, counts)), "class_weight", {k: round(v, 1) for k, v in class_weight.items()})


def build():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.Input((20,)), layers.Dense(32, activation="relu"), layers.Dense(4, activation="sigmoid")]
    )
    return model


def recall(model):
    called = model.predict(x[1200:], verbose=0) > 0.5
    return [round(float(called[y[1200:, k] == 1, k].mean()), 2) for k in range(4)]


plain = build()
plain.compile(optimizer=keras.optimizers.Adam(5e-3), loss="binary_crossentropy")
plain.fit(x[:1200], y[:1200], batch_size=32, epochs=8, verbose=0)
print("recall without weights", recall(plain))

model = build()
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="binary_crossentropy")
model.fit(x[:1200], y[:1200], batch_size=32, epochs=8, class_weight=class_weight, verbose=0)
print("recall with class_weight", recall(model))
