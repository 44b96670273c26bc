import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)

# tremor windows: 12 spectral bands, eight kinds of events
kinds = rng.normal(0, 2.0, (8, 12))
label = rng.integers(0, 8, 960)
bands = (kinds[label] + 0.15 * rng.normal(size=(960, 12))).astype("float32")


class VectorQuantizer(layers.Layer):
    def __init__(self, num_embeddings, embedding_dim, beta=0.25, **kwargs):
        super().__init__(**kwargs)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.beta = beta

    def build(self, input_shape):
        self.embeddings = self.add_weight(
            shape=(self.num_embeddings, self.embedding_dim), initializer="random_uniform", name="embeddings"
        )

    def call(self, z):
        distances = (
            ops.sum(z**2, axis=1, keepdims=True)
            + ops.sum(self.embeddings**2, axis=1)
            - 2 * ops.matmul(z, ops.transpose(self.embeddings))
        )
        codes = ops.argmin(distances, axis=1)
        quantized = ops.take(self.embeddings, codes, axis=0)
        # straight-through estimator
        quantized = z + ops.stop_gradient(quantized - z)

        commitment_loss = ops.mean((ops.stop_gradient(quantized) - z) ** 2)
        codebook_loss = ops.mean((quantized - ops.stop_gradient(z)) ** 2)
        self.add_loss(self.beta * commitment_loss + codebook_loss)
        return quantized


inputs = keras.Input((12,))
z = layers.Dense(32, activation="relu")(inputs)
z = layers.Dense(4)(z)
vq = VectorQuantizer(32, 4, name="vq")
q = vq(z)
h = layers.Dense(32, activation="relu")(q)
model = keras.Model(inputs, layers.Dense(12)(h))

before = np.array(ops.convert_to_numpy(vq.embeddings))
model.compile(optimizer=keras.optimizers.Adam(2e-3), loss="mse")
history = model.fit(bands, bands, batch_size=32, epochs=30, verbose=0)
after = ops.convert_to_numpy(vq.embeddings)
print("loss %.4f -> %.4f" % (history.history["loss"][0], history.history["loss"][-1]))
print("largest change of a codebook entry", float(np.abs(after - before).max()))
recon = model.predict(bands, verbose=0)
print("reconstruction error", float(np.mean((recon - bands) ** 2)), " variance of the data", float(bands.var()))
