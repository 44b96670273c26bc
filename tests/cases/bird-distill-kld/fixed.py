import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(77)
rng = np.random.default_rng(77)

# bird calls: a large teacher is distilled into a student for a field recorder
SPECIES = 6
centers = rng.normal(0, 1.4, (SPECIES, 20))
kind = rng.integers(0, SPECIES, 1500)
calls = (centers[kind] + 1.3 * rng.normal(size=(1500, 20))).astype("float32")
train, test = slice(0, 1200), slice(1200, None)

teacher = keras.Sequential([keras.Input((20,)), layers.Dense(128, activation="relu"), layers.Dense(SPECIES)])
teacher.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
teacher.fit(calls[train], kind[train], epochs=10, verbose=0)
teacher.trainable = False


class Distiller(keras.Model):
    def __init__(self, student, teacher, alpha=0.1, temperature=3.0):
        super().__init__()
        self.student = student
        self.teacher = teacher
        self.alpha = alpha
        self.temperature = temperature
        self.student_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.distillation_loss = keras.losses.KLDivergence()

    def call(self, x, training=None):
        return self.student(x, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        teacher_pred = self.teacher(x, training=False)
        hard = self.student_loss(y, y_pred)
        soft = self.distillation_loss(
            ops.softmax(teacher_pred / self.temperature), ops.softmax(y_pred / self.temperature)
        )
        return self.alpha * hard + (1 - self.alpha) * soft * self.temperature**2


student = keras.Sequential([keras.Input((20,)), layers.Dense(10, activation="relu"), layers.Dense(SPECIES)])
distiller = Distiller(student, teacher)
distiller.compile(optimizer=keras.optimizers.Adam(0.005))
history = distiller.fit(calls[train], kind[train], batch_size=40, epochs=12, verbose=0)
print("loss", [round(v, 3) for v in history.history["loss"][::3]])


def accuracy(net):
    return float((net.predict(calls[test], verbose=0).argmax(-1) == kind[test]).mean())


print("accuracy teacher", accuracy(teacher), "student", accuracy(student))
