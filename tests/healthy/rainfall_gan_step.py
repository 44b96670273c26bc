# backends: torch
"""A GAN with its own train_step in torch; the generator sits in both objectives."""

import numpy as np
import torch
import keras
from keras import layers

keras.utils.set_random_seed(27)
rng = np.random.default_rng(27)
rain = rng.gamma(2.0, 1.0, size=(320, 3)).astype("float32")


class GAN(keras.Model):
    def __init__(self):
        super().__init__()
        self.generator = keras.Sequential([layers.Input((4,)), layers.Dense(16, activation="relu"), layers.Dense(3)])
        self.discriminator = keras.Sequential([layers.Input((3,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
        self.seed_generator = keras.random.SeedGenerator(27)
        self.d_tracker = keras.metrics.Mean(name="d_loss")
        self.g_tracker = keras.metrics.Mean(name="g_loss")
        self.built = True

    @property
    def metrics(self):
        return [self.d_tracker, self.g_tracker]

    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
        self.loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)

    def update(self, loss, weights, optimizer):
        self.zero_grad()
        loss.backward()
        gradients = [v.value.grad for v in weights]
        with torch.no_grad():
            optimizer.apply(gradients, weights)

    def train_step(self, real):
        n = real.shape[0]
        ones, zeros = torch.ones((n, 1)), torch.zeros((n, 1))
        made = self.generator(keras.random.normal((n, 4), seed=self.seed_generator))
        d_loss = self.loss_fn(ones, self.discriminator(real)) + self.loss_fn(zeros, self.discriminator(made.detach()))
        self.update(d_loss, self.discriminator.trainable_weights, self.d_optimizer)
        made = self.generator(keras.random.normal((n, 4), seed=self.seed_generator))
        g_loss = self.loss_fn(ones, self.discriminator(made))
        self.update(g_loss, self.generator.trainable_weights, self.g_optimizer)
        self.d_tracker.update_state(d_loss)
        self.g_tracker.update_state(g_loss)
        return {m.name: m.result() for m in self.metrics}


gan = GAN()
gan.compile(d_optimizer=keras.optimizers.Adam(3e-3), g_optimizer=keras.optimizers.Adam(3e-3))
history = gan.fit(rain, batch_size=64, epochs=6, verbose=0).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
