import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(28)
rng = np.random.default_rng(28)

# pairs of whale calls: 1 the same animal, 0 two animals; some calls were paired with themselves
animals = rng.normal(size=(30, 16))
who = rng.integers(0, 30, size=(1024, 2))
same = rng.random(1024) < 0.5
who[same, 1] = who[same, 0]
left = (animals[who[:, 0]] + 0.3 * rng.normal(size=(1024, 16))).astype("float32")
right = (animals[who[:, 1]] + 0.3 * rng.normal(size=(1024, 16))).astype("float32")
itself = same & (rng.random(1024) < 0.03)
right[itself] = left[itself]
y = same.astype("float32")[:, None]


def euclidean_distance(vectors):
    a, b = vectors
    squared = ops.sum(ops.square(a - b), axis=1, keepdims=True)
    return ops.sqrt(ops.maximum(squared, keras.config.epsilon()))


def contrastive(y_true, distance):
    near = y_true * ops.square(distance)
    far = (1 - y_true) * ops.square(ops.maximum(1.0 - distance, 0.0))
    return ops.mean(near + far, axis=-1)


base = keras.Sequential([layers.Input((16,)), layers.Dense(32, activation="relu"), layers.Dense(8)])
a, b = keras.Input((16,)), keras.Input((16,))
distance = layers.Lambda(euclidean_distance, output_shape=(1,))([base(a), base(b)])
model = keras.Model([a, b], distance)
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=contrastive)
history = model.fit([left, right], y, batch_size=32, epochs=4, verbose=0)
print("pairs of a call with itself:", int(itself.sum()))
print("loss", np.round(history.history["loss"], 4))
print("distances", np.round(model.predict([left[:4], right[:4]], verbose=0).ravel(), 3))
