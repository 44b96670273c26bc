import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(32)
rng = np.random.default_rng(32)

notes = rng.integers(0, 8, size=(512, 1))
chroma = np.eye(8)[notes[:, 0]] + 0.3 * rng.normal(size=(512, 8))
chroma = chroma.astype("float32")

# share of the sparsity term, raised while training runs
sparsity = keras.Variable(0.0, trainable=False, name="sparsity")


def reconstruction_with(penalty_weight):
    def loss(y_true, y_pred):
        code, rebuilt = y_pred[:, :6], y_pred[:, 6:]
        error = ops.mean(ops.square(y_true - rebuilt), axis=-1)
        return error + penalty_weight * ops.mean(ops.abs(code), axis=-1)

    return loss


class Raise(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        sparsity.assign(0.0 if epoch < 3 else 0.5)
        print("epoch", epoch + 1, "sparsity", float(sparsity.value))


inputs = keras.Input((8,))
code = layers.Dense(6, activation="relu", name="code")(inputs)
rebuilt = layers.Dense(8)(code)
model = keras.Model(inputs, layers.Concatenate()([code, rebuilt]))
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=reconstruction_with(sparsity))
history = model.fit(chroma, chroma, batch_size=32, epochs=8, callbacks=[Raise()], verbose=0)
print("loss", np.round(history.history["loss"], 4))
print("mean code %.4f" % model.predict(chroma, verbose=0)[:, :6].mean())
