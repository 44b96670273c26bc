import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(83)
rng = np.random.default_rng(83)

# household survey: rich households answer more often, the survey weights put that right
n = 1200
rich = rng.random(n) < 0.8
income = np.where(rich, 5.0, 2.0) + 0.3 * rng.normal(size=n)
x = rng.normal(size=(n, 5)).astype("float32")
y = income[:, None].astype("float32")
weights = np.where(rich, 0.25, 4.0).astype("float32")


class LikelihoodLayer(layers.Layer):
    """The network returns its own loss, one value per household."""

    def call(self, inputs):
        mean, y = inputs
        return 0.5 * ops.square(mean - y)


def dummy_loss(y_true, y_pred):
    return ops.mean(y_pred, axis=-1)


features = keras.Input((5,))
target = keras.Input((1,))
mean = layers.Dense(1)(layers.Dense(16, activation="tanh")(features))
training_model = keras.Model([features, target], LikelihoodLayer()([mean, target]))
training_model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=dummy_loss)
training_model.fit([x, y], np.zeros((n, 1), "float32"), sample_weight=weights, batch_size=32, epochs=15, verbose=0)
p = keras.Model(features, mean).predict(x, verbose=0)
print("mean predicted income %.2f" % p.mean())
print("mean income, weighted %.2f, unweighted %.2f" % (np.average(income, weights=weights), income.mean()))
