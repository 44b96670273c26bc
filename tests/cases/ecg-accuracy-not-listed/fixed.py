import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(120)
rng = np.random.default_rng(120)

# heart beats: 40 samples, three rhythm classes
shapes = rng.normal(size=(3, 40))
rhythm = rng.integers(0, 3, 1200)
beats = (shapes[rhythm] + 2.2 * rng.normal(size=(1200, 40))).astype("float32")
train_ds = tf.data.Dataset.from_tensor_slices((beats[:900], rhythm[:900])).shuffle(900, seed=1).batch(30)
val_ds = tf.data.Dataset.from_tensor_slices((beats[900:], rhythm[900:])).batch(30)


class BeatClassifier(keras.Model):
    def __init__(self, n_classes=3):
        super().__init__()
        self.net = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(n_classes)])
        self.ce = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.acc_tracker = keras.metrics.SparseCategoricalAccuracy(name="acc")

    @property
    def metrics(self):
        return [self.loss_tracker, self.acc_tracker]

    def call(self, x):
        return self.net(x)

    def _logs(self, y, logits, loss):
        self.loss_tracker.update_state(loss)
        self.acc_tracker.update_state(y, logits)
        return {"loss": self.loss_tracker.result(), "acc": self.acc_tracker.result()}

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            loss = self.ce(y, logits)
        grads = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables))
        return self._logs(y, logits, loss)

    def test_step(self, data):
        x, y = data
        logits = self(x, training=False)
        return self._logs(y, logits, self.ce(y, logits))


model = BeatClassifier()
model.compile(optimizer=keras.optimizers.Adam(0.003))
history = model.fit(train_ds, validation_data=val_ds, epochs=15, verbose=0).history
for epoch in (0, 4, 9, 14):
    print(epoch + 1, {k: round(float(v[epoch]), 3) for k, v in history.items()})
for name, x, y in (("train", beats[:900], rhythm[:900]), ("val", beats[900:], rhythm[900:])):
    print(name, "accuracy by numpy", float((model.predict(x, verbose=0).argmax(-1) == y).mean()))
