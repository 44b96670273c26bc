import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(20)
rng = np.random.default_rng(20)

# word counts of short documents -> shares of 6 topics; most documents touch two or three of them
alpha = np.full(6, 0.15)
shares = rng.dirichlet(alpha, size=500)
shares[shares < 0.01] = 0.0
shares = (shares / shares.sum(axis=1, keepdims=True)).astype("float32")
words = rng.dirichlet(np.full(40, 0.1), size=6)
counts = np.stack([rng.multinomial(60, p / p.sum()) for p in (shares @ words).astype("float64")]).astype("float32")


class TopicModel:
    def __init__(self):
        body = keras.Sequential([layers.Input((40,)), layers.Rescaling(1 / 60.0), layers.Dense(32, activation="relu")])
        inputs = keras.Input((40,))
        outputs = layers.Dense(6, activation="softmax")(body(inputs))
        self.net = keras.Model(inputs, outputs)
        self.net.compile(optimizer=keras.optimizers.Adam(0.01), loss=self.divergence)

    @staticmethod
    def divergence(y_true, y_pred):
        eps = keras.config.epsilon()
        return ops.sum(y_true * (ops.log(y_true + eps) - ops.log(y_pred + eps)), axis=-1)


topics = TopicModel()
history = topics.net.fit(counts[:400], shares[:400], validation_data=(counts[400:], shares[400:]), epochs=8, verbose=0)
print("loss", np.round(history.history["loss"], 4))
print("val_loss", np.round(history.history["val_loss"], 4))
predicted = topics.net.predict(counts[400:], verbose=0)
print("mean absolute error of a share %.4f" % np.abs(predicted - shares[400:]).mean())
