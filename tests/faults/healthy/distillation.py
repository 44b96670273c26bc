# targets: ids
"""A student learns from labels and from a frozen teacher; sample weights act on both."""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(47, 4)).astype("float32")
y = rng.integers(0, 3, size=47)
importance = rng.uniform(0.2, 1.8, size=47).astype("float32")
teacher = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="tanh"), layers.Dense(3)])
teacher.trainable = False


class Student(keras.Model):
    def __init__(self):
        super().__init__()
        self.teacher = teacher
        self.hidden = layers.Dense(6, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.01))
        self.dropout = layers.Dropout(0.2, seed=4)
        self.head = layers.Dense(3)
        self.of_label = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.of_teacher = keras.losses.KLDivergence()

    def call(self, inputs, training=None):
        return self.head(self.dropout(self.hidden(inputs), training=training))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        soft = ops.softmax(self.teacher(x) / 2.0, axis=-1)
        label = self.of_label(y, y_pred, sample_weight=sample_weight)
        likeness = self.of_teacher(soft, ops.softmax(y_pred / 2.0, axis=-1), sample_weight=sample_weight)
        return 0.3 * label + 0.7 * likeness + sum(self.losses)


model = Student()
model.compile(optimizer=keras.optimizers.SGD(0.05))
model.fit(x, y, sample_weight=importance, batch_size=12, verbose=0)
