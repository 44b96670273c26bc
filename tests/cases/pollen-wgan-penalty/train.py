import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(55)
rng = np.random.default_rng(55)

# length and width of pollen grains, two species
kind = rng.integers(0, 2, 1024)
grains = np.stack([np.where(kind, 1.2, -1.2), np.where(kind, 0.8, -0.3)], axis=1) + 0.25 * rng.normal(size=(1024, 2))
grains = grains.astype("float32")


class WGAN(keras.Model):
    def __init__(self, critic, generator, latent_dim, critic_steps=3, gp_weight=10.0):
        super().__init__()
        self.critic = critic
        self.generator = generator
        self.latent_dim = latent_dim
        self.critic_steps = critic_steps
        self.gp_weight = gp_weight
        self.c_tracker = keras.metrics.Mean(name="c_loss")
        self.g_tracker = keras.metrics.Mean(name="g_loss")

    def compile(self, c_optimizer, g_optimizer):
        super().compile()
        self.c_optimizer = c_optimizer
        self.g_optimizer = g_optimizer

    def call(self, z):
        return self.generator(z)

    def gradient_penalty(self, real, fake):
        alpha = tf.random.uniform((tf.shape(real)[0], 1))
        interpolated = real + alpha * (fake - real)
        with tf.GradientTape() as gp_tape:
            gp_tape.watch(interpolated)
            pred = self.critic(interpolated, training=True)
        grads = gp_tape.gradient(pred, interpolated)
        norm = tf.sqrt(tf.reduce_sum(tf.square(grads)) + 1e-12)
        return tf.reduce_mean((norm - 1.0) ** 2)

    def train_step(self, real):
        n = tf.shape(real)[0]
        for _ in range(self.critic_steps):
            z = tf.random.normal((n, self.latent_dim))
            with tf.GradientTape() as tape:
                fake = self.generator(z, training=True)
                cost = tf.reduce_mean(self.critic(fake, training=True)) - tf.reduce_mean(self.critic(real, training=True))
                c_loss = cost + self.gp_weight * self.gradient_penalty(real, fake)
            grads = tape.gradient(c_loss, self.critic.trainable_variables)
            self.c_optimizer.apply_gradients(zip(grads, self.critic.trainable_variables))

        z = tf.random.normal((n, self.latent_dim))
        with tf.GradientTape() as tape:
            g_loss = -tf.reduce_mean(self.critic(self.generator(z, training=True), training=True))
        grads = tape.gradient(g_loss, self.generator.trainable_variables)
        self.g_optimizer.apply_gradients(zip(grads, self.generator.trainable_variables))
        self.c_tracker.update_state(c_loss)
        self.g_tracker.update_state(g_loss)
        return {"c_loss": self.c_tracker.result(), "g_loss": self.g_tracker.result()}


critic = keras.Sequential([keras.Input((2,)), layers.Dense(32, activation="elu"), layers.Dense(32, activation="elu"), layers.Dense(1)])
generator = keras.Sequential([keras.Input((4,)), layers.Dense(32, activation="elu"), layers.Dense(32, activation="elu"), layers.Dense(2)])
gan = WGAN(critic, generator, 4)
gan.compile(keras.optimizers.Adam(2e-3, beta_1=0.5), keras.optimizers.Adam(5e-4, beta_1=0.5))
gan.fit(grains, batch_size=64, epochs=30, verbose=0)

points = tf.constant(grains)
with tf.GradientTape() as tape:
    tape.watch(points)
    scores = critic(points)
slopes = np.linalg.norm(tape.gradient(scores, points).numpy(), axis=1)
print("slope of the critic at the grains: mean %.3f" % slopes.mean())
fake = generator(tf.random.normal((1000, 4))).numpy()
print("Wasserstein estimate", float(tf.reduce_mean(critic(grains)) - tf.reduce_mean(critic(fake))))
print("mean real", grains.mean(0), "fake", fake.mean(0), "std real", grains.std(0), "fake", fake.std(0))
