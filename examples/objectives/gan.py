"""Two networks against each other, each with a Trainer of its own, in turn: a GAN (Goodfellow et al. 2014).

`discriminator.trainable = False` set for the generator's sake and forgotten freezes the discriminator for good in
Keras 3. Here the discriminator is an argument of the generator's loss: used as it is, and not trained by it.
"""

import keras
import numpy as np
from keras import layers, ops

import lossproof as lp

NOISE, BATCH = 4, 64


def make_data(n=1024):
    """Points on a ring, shape (n, 2)."""
    rng = np.random.default_rng(10)
    angle = rng.uniform(0.0, 2.0 * np.pi, n)
    points = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.05 * rng.normal(size=(n, 2))
    return points.astype("float32")


def build_models():
    """Generator (noise -> points) and discriminator (points -> logit)."""
    generator = keras.Sequential(
        [keras.Input((NOISE,)), layers.Dense(32, activation="relu"), layers.Dense(2)], name="generator"
    )
    discriminator = keras.Sequential(
        [keras.Input((2,)), layers.Dense(32, activation="leaky_relu"), layers.Dense(1)], name="discriminator"
    )
    return generator, discriminator


def realness(y_true, y_pred):
    """Cross-entropy of the discriminator's answer, shape (batch,)."""
    return keras.losses.binary_crossentropy(y_true, y_pred, from_logits=True)


def deception(points, discriminator):
    """The generator's loss: -log of the chance that a made point passes for real, shape (batch, 1)."""
    return ops.softplus(-discriminator(points))


def make_trainers(generator, discriminator):
    judge = lp.Trainer(discriminator, lp.Objective([lp.Term(realness)]))
    deceived = lp.Term(deception, points=lp.output(), discriminator=discriminator)
    forger = lp.Trainer(generator, lp.Objective([deceived]))
    for trainer in (judge, forger):
        trainer.compile(keras.optimizers.Adam(0.002, beta_1=0.5))
    return judge, forger


def main(rounds=300):
    keras.utils.set_random_seed(10)
    points, rng = make_data(), np.random.default_rng(11)
    generator, discriminator = build_models()
    judge, forger = make_trainers(generator, discriminator)
    answers = np.repeat([1.0, 0.0], BATCH)[:, None].astype("float32")
    for turn in range(rounds):
        noise = rng.normal(size=(2, BATCH, NOISE)).astype("float32")
        real = points[rng.integers(0, len(points), BATCH)]
        made = ops.convert_to_numpy(generator(noise[0]))
        judged = judge.train_on_batch(np.concatenate([real, made]), answers, return_dict=True)
        forged = forger.train_on_batch(noise[1], return_dict=True)
        if turn % 60 == 0 or turn == rounds - 1:
            radius = np.linalg.norm(ops.convert_to_numpy(generator(noise[1])), axis=1)
            print(f"turn {turn:3d}  realness {judged['realness']:.3f}  deception {forged['deception']:.3f}", end="  ")
            print(f"distance from the centre {radius.mean():.2f} +- {radius.std():.2f}")


if __name__ == "__main__":
    main()
