# backends: tensorflow, jax, torch
"""Distillation: a frozen teacher, soft targets at a temperature, and the compiled loss on the labels."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(13)
rng = np.random.default_rng(13)

species = rng.integers(0, 5, 500)
insects = (rng.normal(size=(5, 14))[species] + 0.9 * rng.normal(size=(500, 14))).astype("float32")

teacher = keras.Sequential([layers.Input((14,)), layers.Dense(64, activation="relu"), layers.Dense(5)])
teacher.compile(
    optimizer=keras.optimizers.Adam(0.01), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
)
teacher.fit(insects, species, batch_size=50, epochs=4, verbose=0)
teacher.trainable = False


class Student(keras.Model):
    def __init__(self, teacher, temperature=3.0, share=0.5):
        super().__init__()
        self.teacher = teacher
        self.net = keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(5)])
        self.temperature = temperature
        self.share = share

    def call(self, x):
        return self.net(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        hard = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        soft_teacher = ops.softmax(self.teacher(x, training=False) / self.temperature)
        soft_student = ops.log_softmax(y_pred / self.temperature)
        cross = -ops.sum(soft_teacher * soft_student, axis=-1)
        return (1.0 - self.share) * hard + self.share * self.temperature**2 * ops.mean(cross)


student = Student(teacher)
student.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = student.fit(insects, species, batch_size=50, epochs=5, verbose=0).history
print({name: np.round(values, 3) for name, values in history.items()})
