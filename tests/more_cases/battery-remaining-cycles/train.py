import numpy as np
import tensorflow as tf
import keras
from keras import layers, ops

keras.utils.set_random_seed(41)
rng = np.random.default_rng(41)

# capacity fade of the first cycles -> number of cycles the cell survives
fade = rng.gamma(2.0, 0.6, size=(500, 6)).astype("float32")
cycles = 900.0 * np.exp(-0.35 * fade[:, 0] - 0.2 * fade[:, 3]) * rng.lognormal(0.0, 0.05, 500)
cycles = cycles.astype("float32")


class CycleLifeModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(32, activation="relu")
        self.dropout = layers.Dropout(0.05)
        self.log_life = layers.Dense(1, bias_initializer=keras.initializers.Constant(6.0))

    def call(self, x, training=None):
        h = self.dropout(self.hidden(x), training=training)
        return ops.exp(self.log_life(h))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # relative errors count, a miss of 10 cycles is nothing for a long-lived cell
        log_ratio = ops.log1p(y_pred) - ops.log1p(y)
        return ops.mean(ops.square(log_ratio))


train = tf.data.Dataset.from_tensor_slices((fade[:420], cycles[:420])).shuffle(420, seed=1).batch(64)
model = CycleLifeModel()
model.compile(optimizer=keras.optimizers.Adam(0.01))
history = model.fit(train, epochs=25, verbose=0)

predicted = model.predict(fade[420:], verbose=0)[:, 0]
print("loss", round(history.history["loss"][-1], 4))
print("median error in %%: %.1f" % (100 * np.median(np.abs(predicted / cycles[420:] - 1))))
print("spread of log life: predicted %.3f, measured %.3f" % (np.log(predicted).std(), np.log(cycles[420:]).std()))
