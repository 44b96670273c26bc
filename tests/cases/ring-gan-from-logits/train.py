import numpy as np
import keras
import torch
from keras import layers, ops

keras.utils.set_random_seed(43)
rng = np.random.default_rng(43)

# points on a ring
angle = rng.uniform(0, 2 * np.pi, size=2048)
points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (1 + 0.05 * rng.normal(size=(2048, 1)))
points = points.astype("float32")

generator = keras.Sequential(
    [layers.Input((4,)), layers.Dense(32, activation="relu"), layers.Dense(32, activation="relu"), layers.Dense(2)]
)
discriminator = keras.Sequential(
    [
        layers.Input((2,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(32, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
)


class GAN(keras.Model):
    def __init__(self, generator, discriminator):
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
        self.d_loss_metric = keras.metrics.Mean(name="d_loss")
        self.g_loss_metric = keras.metrics.Mean(name="g_loss")
        self.seed = keras.random.SeedGenerator(1)
        self.built = True

    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        d_optimizer.build(self.discriminator.trainable_variables)
        g_optimizer.build(self.generator.trainable_variables)

    @property
    def metrics(self):
        return [self.d_loss_metric, self.g_loss_metric]

    def train_step(self, real):
        if isinstance(real, tuple):
            real = real[0]
        noise = keras.random.normal((ops.shape(real)[0], 4), seed=self.seed)
        fake = self.generator(noise, training=True)

        self.zero_grad()
        on_real = self.discriminator(real, training=True)
        on_fake = self.discriminator(fake.detach(), training=True)
        d_loss = self.cross_entropy(ops.ones_like(on_real), on_real)
        d_loss = d_loss + self.cross_entropy(ops.zeros_like(on_fake), on_fake)
        d_loss.backward()
        weights = self.discriminator.trainable_variables
        with torch.no_grad():
            self.d_optimizer.apply([w.value.grad for w in weights], weights)

        self.zero_grad()
        on_fake = self.discriminator(fake, training=True)
        g_loss = self.cross_entropy(ops.ones_like(on_fake), on_fake)
        g_loss.backward()
        weights = self.generator.trainable_variables
        with torch.no_grad():
            self.g_optimizer.apply([w.value.grad for w in weights], weights)

        self.d_loss_metric.update_state(d_loss)
        self.g_loss_metric.update_state(g_loss)
        return {m.name: m.result() for m in self.metrics}


gan = GAN(generator, discriminator)
gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
history = gan.fit(points, batch_size=64, epochs=12, verbose=0)
print("d_loss", np.round(history.history["d_loss"], 3))
print("g_loss", np.round(history.history["g_loss"], 3))
p = ops.convert_to_numpy(discriminator(points))
print("discriminator on real points: mean %.3f" % p.mean())
