import keras
import numpy as np
from keras.layers import Dense, Input, LeakyReLU
from keras.models import Model, Sequential
from keras.optimizers import Adam

keras.utils.set_random_seed(12)
rng = np.random.default_rng(12)


def real_points(n):
    """measured positions of a bead on a ring"""
    angle = rng.uniform(0, 2 * np.pi, n)
    radius = 2.0 + 0.05 * rng.normal(size=n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).astype("float32")


class GAN:
    def __init__(self):
        self.latent_dim = 4

        # Build and compile the discriminator
        self.discriminator = self.build_discriminator()
        self.discriminator.compile(loss="binary_crossentropy", optimizer=Adam(1e-3, 0.5), metrics=["accuracy"])

        # Build the generator
        self.generator = self.build_generator()
        z = Input(shape=(self.latent_dim,))
        point = self.generator(z)

        # For the combined model we will only train the generator
        self.discriminator.trainable = False
        validity = self.discriminator(point)

        # The combined model  (stacked generator and discriminator)
        self.combined = Model(z, validity)
        self.combined.compile(loss="binary_crossentropy", optimizer=Adam(1e-3, 0.5))

    def build_generator(self):
        return Sequential([Input((self.latent_dim,)), Dense(32), LeakyReLU(negative_slope=0.2), Dense(32),
                           LeakyReLU(negative_slope=0.2), Dense(2)])

    def build_discriminator(self):
        return Sequential([Input((2,)), Dense(32), LeakyReLU(negative_slope=0.2), Dense(32),
                           LeakyReLU(negative_slope=0.2), Dense(1, activation="sigmoid")])

    def train(self, steps, batch_size=64):
        valid = np.ones((batch_size, 1), "float32")
        fake = np.zeros((batch_size, 1), "float32")
        for step in range(steps):
            #  Train Discriminator
            self.discriminator.trainable = True
            points = real_points(batch_size)
            noise = rng.normal(0, 1, (batch_size, self.latent_dim)).astype("float32")
            gen_points = self.generator.predict_on_batch(noise)
            d_loss_real = self.discriminator.train_on_batch(points, valid)
            d_loss_fake = self.discriminator.train_on_batch(gen_points, fake)
            d_loss = 0.5 * np.add(d_loss_real, d_loss_fake)

            #  Train Generator
            self.discriminator.trainable = False
            noise = rng.normal(0, 1, (batch_size, self.latent_dim)).astype("float32")
            g_loss = self.combined.train_on_batch(noise, valid)
            if step % 100 == 99:
                print("%d [D loss: %f, acc.: %.2f%%] [G loss: %f]" % (step + 1, d_loss[0], 100 * d_loss[1], g_loss))


if __name__ == "__main__":
    gan = GAN()
    gan.train(steps=400)
    sample = gan.generator.predict_on_batch(rng.normal(size=(500, 4)).astype("float32"))
    radius = np.linalg.norm(np.asarray(sample), axis=1)
    print("radius of the generated points: mean %.2f  std %.2f (real: 2.00, 0.05)" % (radius.mean(), radius.std()))
