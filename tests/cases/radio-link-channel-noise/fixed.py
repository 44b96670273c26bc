import keras
import numpy as np
from keras import layers, ops

# end to end radio link: 16 messages, 7 channel uses, additive noise in between
M, n_channel, batch_size = 16, 7, 64
snr_db = 2.0
noise_std = float(np.sqrt(1.0 / (2 * (4 / n_channel) * 10 ** (snr_db / 10))))

np.random.seed(4)
keras.utils.set_random_seed(4)
messages = np.random.randint(0, M, size=batch_size * 60)
one_hot = np.eye(M, dtype="float32")[messages]


class PowerNorm(layers.Layer):
    """Every codeword gets the energy n_channel."""

    def call(self, x):
        return x * ops.sqrt(float(n_channel)) * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-9)


class Channel(layers.Layer):
    """White noise of the channel, in training only; the simulation below adds its own."""

    def __init__(self, std, **kwargs):
        super().__init__(**kwargs)
        self.std = std
        self.seed_generator = keras.random.SeedGenerator(4)

    def call(self, x, training=False):
        if not training:
            return x
        noise = keras.random.normal(ops.shape(x), 0.0, self.std, seed=self.seed_generator)
        return x + noise


transmitter = keras.Sequential(
    [keras.Input((M,)), layers.Dense(M, activation="relu"), layers.Dense(n_channel), PowerNorm()], name="transmitter"
)
receiver = keras.Sequential(
    [keras.Input((n_channel,)), layers.Dense(M, activation="relu"), layers.Dense(M, activation="softmax")],
    name="receiver",
)
inputs = keras.Input((M,))
link = keras.Model(inputs, receiver(Channel(noise_std)(transmitter(inputs))))
link.compile(optimizer=keras.optimizers.Adam(5e-3), loss="categorical_crossentropy")
link.fit(one_hot, one_hot, batch_size=batch_size, epochs=20, verbose=0)

# block error rate with fresh noise
rng = np.random.default_rng(99)
test = rng.integers(0, M, 20000)
sent = transmitter.predict(np.eye(M, dtype="float32")[test], batch_size=2000, verbose=0)
received = sent + rng.normal(0, noise_std, sent.shape).astype("float32")
decoded = receiver.predict(received, batch_size=2000, verbose=0).argmax(axis=1)
print("training loss: %.4f" % link.history.history["loss"][-1])
print("block error rate at %.0f dB: %.4f" % (snr_db, np.mean(decoded != test)))
