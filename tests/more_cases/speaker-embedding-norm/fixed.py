import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(23)
rng = np.random.default_rng(23)

speakers = rng.integers(0, 6, 512)
voices = rng.normal(size=(6, 24))
frames = (voices[speakers] + 0.8 * rng.normal(size=(512, 24))).astype("float32")


class UnitNorm(layers.Layer):
    """Pulls the length of each embedding towards 1."""

    def __init__(self, strength, **kwargs):
        super().__init__(**kwargs)
        self.strength = strength

    def call(self, embedding):
        length = ops.sqrt(ops.sum(ops.square(embedding), axis=-1) + 1e-6)
        self.add_loss(self.strength * ops.mean(ops.square(length - 1.0)))
        return embedding


inputs = keras.Input((24,))
h = layers.Dense(32, activation="relu")(inputs)
h = UnitNorm(0.1, name="embedding")(layers.Dense(8)(h))
model = keras.Model(inputs, layers.Dense(6)(h))
model.compile(
    optimizer=keras.optimizers.Adam(5e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(frames[:400], speakers[:400], batch_size=100, epochs=8, verbose=0)

for size in (1, 14, 112):
    loss, accuracy = model.evaluate(frames[400:], speakers[400:], batch_size=size, verbose=0)
    print(f"batch of {size:3d}: loss {loss:.4f}, accuracy {accuracy:.3f}")
logits = model.predict(frames[400:], verbose=0)
ce = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1) - logits[np.arange(112), speakers[400:]]
length = np.linalg.norm(keras.Model(inputs, model.get_layer("embedding").output).predict(frames[400:], verbose=0), axis=1)
print("by numpy: cross-entropy %.4f, norm penalty per sample %.4f" % (ce.mean(), 0.1 * np.mean((length - 1) ** 2)))
