import numpy as np
import torch
import keras
from keras import layers

keras.utils.set_random_seed(17)
rng = np.random.default_rng(17)

# yield of a batch reactor from temperature, pressure, residence time, catalyst age
x = rng.uniform(-1, 1, (1024, 4)).astype("float32")
y = (0.5 + 0.8 * x[:, :1] - x[:, 1:2] ** 2 + 0.5 * x[:, 2:3] * x[:, 3:]).astype("float32")


class ReactorModel(keras.Model):
    def train_step(self, data):
        x, y = data

        y_pred = self(x, training=True)
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        loss.backward()

        trainable_weights = [v for v in self.trainable_weights]
        gradients = [v.value.grad for v in trainable_weights]
        with torch.no_grad():
            self.optimizer.apply(gradients, trainable_weights)

        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


inputs = keras.Input((4,))
h = layers.Dense(32, activation="tanh")(inputs)
h = layers.Dense(32, activation="tanh")(h)
model = ReactorModel(inputs, layers.Dense(1)(h))
model.compile(optimizer=keras.optimizers.SGD(0.03), loss="mse", metrics=["mae"])

for epoch in range(8):
    logs = model.fit(x, y, batch_size=32, verbose=0).history
    print("epoch %d  loss %.4f  mae %.4f" % (epoch + 1, logs["loss"][0], logs["mae"][0]))
print("rmse", float(np.sqrt(np.mean((model.predict(x, verbose=0) - y) ** 2))), "std of the yield", float(y.std()))
