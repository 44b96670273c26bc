import numpy as np
import keras
from keras import layers, ops, regularizers

keras.utils.set_random_seed(46)
rng = np.random.default_rng(46)

# box (4 numbers), confidence and kind from 24 features; few samples, so strong weight decay
n = 200
x = rng.normal(size=(n, 24)).astype("float32")
box = np.tanh(x[:, :4]) + 0.3 * rng.normal(size=(n, 4))
sure = (x[:, 4:5] > 0).astype("float32")
kind = (x[:, 5:8] == x[:, 5:8].max(axis=1, keepdims=True)).astype("float32")
y = np.concatenate([box, sure, kind], axis=1).astype("float32")


class Detector(keras.Model):
    def __init__(self, decay):
        super().__init__()
        self.hidden = layers.Dense(64, activation="relu", kernel_regularizer=regularizers.L2(decay))
        self.head = layers.Dense(8, kernel_regularizer=regularizers.L2(decay))

    def call(self, inputs):
        return self.head(self.hidden(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        box_loss = ops.mean(ops.square(y[:, :4] - y_pred[:, :4]))
        conf_loss = ops.mean(keras.losses.binary_crossentropy(y[:, 4:5], y_pred[:, 4:5], from_logits=True))
        prob_loss = ops.mean(keras.losses.categorical_crossentropy(y[:, 5:], y_pred[:, 5:], from_logits=True))
        total_loss = box_loss + conf_loss + prob_loss + sum(self.losses)
        return total_loss


for decay in (0.0, 0.03):
    keras.utils.set_random_seed(46)
    model = Detector(decay)
    model.compile(optimizer=keras.optimizers.Adam(5e-3))
    model.fit(x, y, batch_size=32, epochs=12, verbose=0)
    norm = sum(float(np.sum(w**2)) for w in model.get_weights() if w.ndim == 2)
    print("decay", decay, "squared norm of the kernels %.2f" % norm)
