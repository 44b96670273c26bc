import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(14)
rng = np.random.default_rng(14)

CLASSES = 5
means = 0.9 * rng.normal(size=(CLASSES, 16))


def pastries(count):
    kind = rng.integers(0, CLASSES, size=count)
    return (means[kind] + rng.normal(size=(count, 16))).astype("float32"), kind


def make(width, rate=0.0):
    return keras.Sequential(
        [
            layers.Input((16,)),
            layers.Dense(width, activation="relu"),
            layers.Dropout(rate),
            layers.Dense(CLASSES),
        ]
    )


class Distiller(keras.Model):
    def __init__(self, student, teacher, alpha=0.1, temperature=3.0):
        super().__init__()
        self.student = student
        self.teacher = teacher
        self.teacher.trainable = False
        self.alpha = alpha
        self.temperature = temperature

    def call(self, x, training=None):
        return self.student(x, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        teacher_pred = self.teacher(x, training=False)
        student_loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        soft = keras.losses.kl_divergence(
            ops.softmax(teacher_pred / self.temperature, axis=-1),
            ops.softmax(y_pred / self.temperature, axis=-1),
        )
        return self.alpha * student_loss + (1 - self.alpha) * self.temperature**2 * ops.mean(soft)


x, y = pastries(900)
x_new, y_new = pastries(1500)
teacher = make(128, rate=0.8)
teacher.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
teacher.fit(x, y, epochs=10, verbose=0)

distiller = Distiller(make(12), teacher)
distiller.compile(
    optimizer=keras.optimizers.Adam(5e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
history = distiller.fit(x, y, epochs=15, validation_data=(x_new, y_new), verbose=0)
print("loss    ", np.round(history.history["loss"][::7], 4))
print("val_loss", np.round(history.history["val_loss"][::7], 4))


def probabilities(net):
    return keras.ops.convert_to_numpy(ops.softmax(net.predict(x_new, verbose=0), axis=-1))


p_student, p_teacher = probabilities(distiller.student), probabilities(teacher)
print("student accuracy %.3f, teacher %.3f" % ((p_student.argmax(1) == y_new).mean(), (p_teacher.argmax(1) == y_new).mean()))
print("mean top probability: student %.3f, teacher %.3f" % (p_student.max(1).mean(), p_teacher.max(1).mean()))
