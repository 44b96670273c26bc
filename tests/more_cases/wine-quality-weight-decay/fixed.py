import numpy as np
import keras
from keras import layers, regularizers

rng = np.random.default_rng(48)
x = rng.normal(size=(400, 11)).astype("float32")
quality = (5.5 + x[:, :1] - 0.5 * x[:, 3:4] + 0.3 * rng.normal(size=(400, 1))).astype("float32")


class QualityModel(keras.Model):
    """Mean squared error plus the weight decay of the layers."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # the losses of the layers are part of it already
        return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)


def build(model_class):
    keras.utils.set_random_seed(48)
    decay = regularizers.l2(0.02)
    inputs = keras.Input((11,))
    h = layers.Dense(24, activation="relu", kernel_regularizer=decay)(inputs)
    outputs = layers.Dense(1, kernel_regularizer=decay, bias_initializer=keras.initializers.Constant(5.5))(h)
    model = model_class(inputs, outputs)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse", metrics=["mse"])
    return model


model = build(QualityModel)
model.fit(x[:300], quality[:300], validation_data=(x[300:], quality[300:]), batch_size=50, epochs=8, verbose=0)
logs = model.evaluate(x[300:], quality[300:], verbose=0, return_dict=True)
kernels = [keras.ops.convert_to_numpy(v.value) for v in model.trainable_variables if v.name == "kernel"]
penalty = 0.02 * sum(np.square(k).sum() for k in kernels)
print({name: round(value, 4) for name, value in logs.items()})
print("mse + 0.02 * squared weights = %.4f" % (logs["mse"] + penalty))
