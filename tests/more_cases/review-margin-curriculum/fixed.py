import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(34)
rng = np.random.default_rng(34)

labels = np.where(rng.random(640) < 0.5, 1.0, -1.0).astype("float32")[:, None]
reviews = (rng.normal(size=(640, 15)) + 0.25 * labels).astype("float32")


class MarginModel(keras.Model):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.margin = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(0.1), trainable=False, name="margin"
        )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(ops.relu(self.margin - ops.multiply(y, y_pred))))


inputs = keras.Input((15,))
model = MarginModel(inputs, layers.Dense(1)(layers.Dense(16, activation="relu")(inputs)))
model.compile(optimizer=keras.optimizers.Adam(0.01))

# from easy to hard: the demanded margin grows from round to round
for step in range(120):
    if step % 30 == 0:
        margin = 0.1 + step / 30
        model.margin.assign(margin)
    rows = rng.integers(0, 640, 64)
    value = model.train_on_batch(reviews[rows], labels[rows])
    if step % 30 == 29:
        scores = labels * model.predict_on_batch(reviews)
        print("margin %.1f  loss %.4f  mean score of the right side %.3f" % (margin, float(value), scores.mean()))
