import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(28)
rng = np.random.default_rng(28)

kind = rng.integers(0, 3, 600)
prototypes = rng.normal(size=(3, 10))
lab = (prototypes[kind] + 0.5 * rng.normal(size=(600, 10))).astype("float32")
shift = 1.5 * rng.normal(size=10)
sea_kind = rng.integers(0, 3, 600)
sea = (prototypes[sea_kind] + shift + 0.5 * rng.normal(size=(600, 10))).astype("float32")


class AlignedClassifier(keras.Model):
    """Labels from the lab; the mean features of the sea images are pulled to those of the lab, more and more."""

    def __init__(self, ramp_steps):
        super().__init__()
        self.encoder = layers.Dense(16, activation="relu")
        self.head = layers.Dense(3)
        self.ramp_steps = ramp_steps
        self.steps_done = self.add_weight(shape=(), initializer="zeros", trainable=False, name="steps_done")
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.gap_tracker = keras.metrics.Mean(name="gap")

    def call(self, x):
        return self.head(self.encoder(x))

    @property
    def metrics(self):
        return [self.loss_tracker, self.gap_tracker]

    def train_step(self, data):
        (lab_images, sea_images), labels = data
        strength = 5.0 * tf.minimum(1.0, self.steps_done / self.ramp_steps)
        self.steps_done.assign_add(1.0)
        with tf.GradientTape() as tape:
            features = self.encoder(lab_images)
            gap = tf.reduce_mean(features, axis=0) - tf.reduce_mean(self.encoder(sea_images), axis=0)
            gap = tf.reduce_sum(tf.square(gap))
            loss = self.compute_loss(lab_images, labels, self.head(features), training=True) + strength * gap
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        self.loss_tracker.update_state(loss)
        self.gap_tracker.update_state(gap)
        return {"loss": self.loss_tracker.result(), "gap": self.gap_tracker.result()}


model = AlignedClassifier(ramp_steps=30)
model(lab[:1])  # creates the weights
model.compile(
    optimizer=keras.optimizers.Adam(0.01), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
)
history = model.fit((lab, sea), kind, batch_size=50, epochs=8, verbose=0).history
print("steps counted:", int(model.steps_done), "of", 8 * 12)
print("gap", np.round(history["gap"], 3))
print("right on the lab images %.2f" % np.mean(model.predict(lab, verbose=0).argmax(1) == kind))
