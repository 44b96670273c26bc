import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers

BATCH_SIZE = 16
EPOCHS = 12
LAMBDA = 20.0

keras.utils.set_random_seed(19)
rng = np.random.default_rng(19)

# label maps -> "photos", 16x16
n = 160
label_map = (rng.random((n, 4, 4, 1)) > 0.5).astype("float32").repeat(4, axis=1).repeat(4, axis=2)
photo = (0.8 * label_map - 0.4 + 0.1 * rng.normal(size=label_map.shape)).astype("float32")
train_ds = tf.data.Dataset.from_tensor_slices((label_map, photo)).shuffle(n, seed=1).batch(BATCH_SIZE)


def Generator():
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(16, 4, strides=2, padding="same")(inputs)
    x = layers.LeakyReLU()(x)
    x = layers.Conv2DTranspose(16, 4, strides=2, padding="same", activation="relu")(x)
    x = layers.Concatenate()([x, inputs])
    return keras.Model(inputs, layers.Conv2D(1, 3, padding="same", activation="tanh")(x))


def Discriminator():
    inp = keras.Input((16, 16, 1), name="input_image")
    tar = keras.Input((16, 16, 1), name="target_image")
    x = layers.Concatenate()([inp, tar])
    x = layers.Conv2D(16, 4, strides=2, padding="same")(x)
    x = layers.LeakyReLU()(x)
    return keras.Model([inp, tar], layers.Conv2D(1, 4, padding="same")(x))


loss_object = keras.losses.BinaryCrossentropy(from_logits=True)
generator, discriminator = Generator(), Discriminator()
generator_optimizer = keras.optimizers.Adam(2e-3, beta_1=0.5)
discriminator_optimizer = keras.optimizers.Adam(2e-4, beta_1=0.5)
generator_optimizer.build(generator.trainable_variables)
discriminator_optimizer.build(discriminator.trainable_variables)


@tf.function
def train_step(input_image, target, epoch):
    # the adversarial part comes in slowly
    gan_weight = tf.minimum(1.0, tf.cast(epoch, tf.float32) / 10.0)
    with tf.GradientTape() as gen_tape, tf.GradientTape() as disc_tape:
        gen_output = generator(input_image, training=True)
        real = discriminator([input_image, target], training=True)
        fake = discriminator([input_image, gen_output], training=True)
        gan_loss = loss_object(tf.ones_like(fake), fake)
        l1_loss = tf.reduce_mean(tf.abs(target - gen_output))
        gen_total_loss = gan_weight * gan_loss + LAMBDA * l1_loss
        disc_loss = loss_object(tf.ones_like(real), real) + loss_object(tf.zeros_like(fake), fake)
    gen_grads = gen_tape.gradient(gen_total_loss, generator.trainable_variables)
    disc_grads = disc_tape.gradient(disc_loss, discriminator.trainable_variables)
    generator_optimizer.apply_gradients(zip(gen_grads, generator.trainable_variables))
    discriminator_optimizer.apply_gradients(zip(disc_grads, discriminator.trainable_variables))
    return gen_total_loss, l1_loss


def fit(train_ds, epochs):
    for epoch in range(epochs):
        start = time.time()
        for input_image, target in train_ds:
            gen_total_loss, l1_loss = train_step(input_image, target, epoch)
        print("epoch %2d  total %.4f  l1 %.4f  %.2f sec" % (
            epoch + 1, float(gen_total_loss), float(l1_loss), time.time() - start))


fit(train_ds, EPOCHS)
print("graphs of train_step:", train_step.experimental_get_tracing_count())
