import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(12)
rng = np.random.default_rng(12)

# axle bearing vibrations; test rig (domain 0) and running trains (domain 1)
n = 600
fault = rng.integers(0, 2, n)
domain = rng.integers(0, 2, n)
signal = rng.normal(0, 0.6, (n, 10)).astype("float32")
signal[:, 0] += 1.5 * fault
signal[:, 1] += 3.0 * domain
signal[:, 2] += 1.5 * domain * fault


class GradientReversal(layers.Layer):
    def __init__(self, hp_lambda=0.0, **kwargs):
        super().__init__(**kwargs)
        self.hp_lambda = self.add_weight(shape=(), initializer=keras.initializers.Constant(hp_lambda), trainable=False, name="hp_lambda")

    def call(self, x):
        # identity in the forward pass, -lambda times the gradient in the backward pass
        return ops.stop_gradient(x * (1.0 + self.hp_lambda)) - x * self.hp_lambda


class LambdaScheduler(keras.callbacks.Callback):
    def __init__(self, layer, epochs):
        super().__init__()
        self.layer = layer
        self.epochs = epochs

    def on_epoch_begin(self, epoch, logs=None):
        p = epoch / self.epochs
        self.layer.hp_lambda.assign(2.0 / (1.0 + np.exp(-10.0 * p)) - 1.0)


EPOCHS = 30
inputs = keras.Input((10,))
features = layers.Dense(16, activation="tanh", name="features")(inputs)
reversal = GradientReversal()
d = layers.Dense(16, activation="relu")(reversal(features))
domain_out = layers.Dense(1, activation="sigmoid", name="domain")(d)
fault_out = layers.Dense(1, activation="sigmoid", name="fault")(features)
model = keras.Model(inputs, [fault_out, domain_out])
model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss=["binary_crossentropy", "binary_crossentropy"],
    metrics=[["accuracy"], ["accuracy"]],
)
targets = [fault.astype("float32")[:, None], domain.astype("float32")[:, None]]
history = model.fit(
    signal, targets, batch_size=50, epochs=EPOCHS, verbose=0, callbacks=[LambdaScheduler(reversal, EPOCHS)]
).history
for epoch in (0, 9, 19, 29):
    print(epoch, {k: round(v[epoch], 3) for k, v in history.items()})
