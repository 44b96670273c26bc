import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(88)
keras.mixed_precision.set_global_policy("mixed_float16")
rng = np.random.default_rng(88)

# seabed type from 20 bands of a side-scan sonar
bands = rng.normal(size=(640, 20)).astype("float32")
seabed = (bands @ rng.normal(size=(20, 4)) + 0.3 * rng.normal(size=(640, 4))).argmax(1)

backend = keras.backend.backend()
if backend == "tensorflow":
    import tensorflow as tf
elif backend == "torch":
    import torch


class SonarNet(keras.Sequential):
    def train_step(self, data):
        x, y = data
        if backend == "tensorflow":
            with tf.GradientTape() as tape:
                logits = self(x, training=True)
                loss = self.compute_loss(x, y, logits)
            grads = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(grads, self.trainable_variables))
        else:
            self.zero_grad()
            logits = self(x, training=True)
            loss = self.compute_loss(x, y, logits)
            loss.backward()
            grads = [v.value.grad for v in self.trainable_weights]
            with torch.no_grad():
                self.optimizer.apply(grads, self.trainable_weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, logits)
        return {m.name: m.result() for m in self.metrics}


net = SonarNet(
    [
        layers.Input((20,)),
        layers.Dense(32, activation="relu"),
        layers.Dense(4, dtype="float32"),
    ]
)
net.compile(
    optimizer=keras.optimizers.SGD(0.05, momentum=0.9),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = net.fit(bands[:512], seabed[:512], batch_size=32, epochs=12, verbose=0)
print("loss    ", np.round(history.history["loss"][::3], 4))
print("accuracy", np.round(history.history["accuracy"][::3], 3))
p = net.predict(bands[512:], verbose=0).argmax(1)
print("test accuracy %.3f" % (p == seabed[512:]).mean())
