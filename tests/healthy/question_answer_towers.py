# backends: tensorflow, jax, torch
"""Questions and answers: the other answers of the batch are the negatives, the targets that Keras asks for are unused."""

import numpy as np
import keras
from keras import layers, losses, ops

keras.utils.set_random_seed(3)

WIDTH = 6


class InBatchSoftmax(losses.Loss):
    def __init__(self, temperature=0.2, name="in_batch_softmax"):
        super().__init__(name=name)
        self.temperature = temperature

    def call(self, y_true, y_pred):
        question, answer = y_pred[:, :WIDTH], y_pred[:, WIDTH:]
        scores = ops.matmul(question, ops.transpose(answer)) / self.temperature
        return ops.logsumexp(scores, axis=1) - ops.diagonal(scores)

    def get_config(self):
        return {"name": self.name, "temperature": self.temperature}


def batches(seed, size=50):
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(0).normal(size=(5, 10))
    while True:
        topic = rng.normal(size=(size, 5))
        question = (topic @ topics + 0.1 * rng.normal(size=(size, 10))).astype("float32")
        answer = (topic @ topics[:, ::-1] + 0.1 * rng.normal(size=(size, 10))).astype("float32")
        yield (question, answer), np.zeros((size, 1), "float32")


question = keras.Input((10,), name="question")
answer = keras.Input((10,), name="answer")
towers = [layers.UnitNormalization()(layers.Dense(WIDTH)(side)) for side in (question, answer)]
model = keras.Model([question, answer], layers.Concatenate()(towers))
model.compile(optimizer=keras.optimizers.Adam(0.02), loss=InBatchSoftmax())
history = model.fit(batches(1), steps_per_epoch=12, epochs=5, verbose=0).history["loss"]
print("loss", np.round(history, 3))
