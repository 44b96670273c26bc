import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(32)
rng = np.random.default_rng(32)

notes = rng.integers(0, 8, size=(512, 1))
chroma = np.eye(8)[notes[:, 0]] + 0.3 * rng.normal(size=(512, 8))
chroma = chroma.astype("float32")


class SparseAutoencoder(keras.Model):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # share of the sparsity term, raised while training runs
        self.sparsity = self.add_weight(shape=(), initializer="zeros", trainable=False, name="sparsity")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        code, rebuilt = y_pred[:, :6], y_pred[:, 6:]
        error = ops.mean(ops.square(y - rebuilt), axis=-1)
        return ops.mean(error + self.sparsity * ops.mean(ops.abs(code), axis=-1))


class Raise(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.sparsity.assign(0.0 if epoch < 3 else 0.5)
        print("epoch", epoch + 1, "sparsity", float(self.model.sparsity.value))


inputs = keras.Input((8,))
code = layers.Dense(6, activation="relu", name="code")(inputs)
rebuilt = layers.Dense(8)(code)
model = SparseAutoencoder(inputs, layers.Concatenate()([code, rebuilt]))
model.compile(optimizer=keras.optimizers.Adam(0.01))
history = model.fit(chroma, chroma, batch_size=32, epochs=8, callbacks=[Raise()], verbose=0)
print("loss", np.round(history.history["loss"], 4))
print("mean code %.4f" % model.predict(chroma, verbose=0)[:, :6].mean())
