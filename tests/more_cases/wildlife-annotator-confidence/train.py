import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(15)
rng = np.random.default_rng(15)

# camera-trap features, 4 species; annotators say how sure they were
species = rng.integers(0, 4, 800)
looks = rng.normal(0, 1.2, size=(4, 12))
x = (looks[species] + rng.normal(size=(800, 12))).astype("float32")
sure = rng.random(800) < 0.4
confidence = np.where(sure, 1.0, 0.15).astype("float32")
# the unsure labels are biased: doubtful animals are called species 0
labels = np.where(~sure & (rng.random(800) < 0.8), 0, species)


def confident_targets(features, label, conf):
    return features, tf.one_hot(label, 4) * conf[..., None]


data = tf.data.Dataset.from_tensor_slices((x, labels, confidence)).shuffle(800, seed=2).batch(64).map(confident_targets)

inputs = keras.Input((12,))
h = layers.Dense(24, activation="relu")(inputs)
model = keras.Model(inputs, layers.Dense(4, activation="softmax")(h))
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="categorical_crossentropy")
history = model.fit(data, epochs=15, verbose=0).history["loss"]

probs = model.predict(x, verbose=0)
print("loss", np.round(history[::3], 4))
print("recall of the true species", [round(float((probs.argmax(1) == k)[species == k].mean()), 3) for k in range(4)])
print("mean largest probability %.3f" % probs.max(axis=1).mean())
