import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)

# web shop search: 20 products per query, graded 0..4 by clicks
QUERIES, DOCS, FEATS = 300, 20, 9
query_level = 2.5 * rng.normal(size=(QUERIES, 1, 1))            # some queries get far more clicks than others
docs = rng.normal(size=(QUERIES, DOCS, FEATS))
hidden = docs @ rng.normal(size=(FEATS, 1))
docs[..., -1:] = query_level + 1.5 * rng.normal(size=hidden.shape)
grades = np.clip(np.round(1.2 + 0.35 * hidden + 0.8 * query_level + 0.3 * rng.normal(size=hidden.shape)), 0, 4)[..., 0]
docs, grades = docs.astype("float32"), grades.astype("float32")


def listnet(y_true, y_pred):
    """Top-one probabilities of the true grades against those of the scores."""
    p_true = ops.softmax(y_true, axis=-1)
    log_p = ops.log_softmax(y_pred, axis=-1)
    return -ops.sum(p_true * log_p, axis=-1)


inputs = keras.Input((DOCS, FEATS))
h = layers.Dense(16, activation="relu")(inputs)
scores = layers.Reshape((DOCS,))(layers.Dense(1)(h))
ranker = keras.Model(inputs, scores)
ranker.compile(optimizer=keras.optimizers.Adam(5e-3), loss=listnet)
history = ranker.fit(docs[:240], grades[:240], batch_size=24, epochs=15, verbose=0)
print("loss", np.round(history.history["loss"][::3], 3))


def ndcg(y, s, k=5):
    gain = lambda g: ((2**g - 1) / np.log2(np.arange(2, k + 2))).sum()
    out = [gain(a[np.argsort(-b)][:k]) / max(gain(np.sort(a)[::-1][:k]), 1e-9) for a, b in zip(y, s) if a.max() > a.min()]
    return np.mean(out)


for size in (6, 30, 60):
    print("loss of the test queries in batches of %d: %.3f" % (size, ranker.evaluate(docs[240:], grades[240:], batch_size=size, verbose=0)))
print("ndcg@5 %.3f, of random scores %.3f" % (ndcg(grades[240:], ranker.predict(docs[240:], verbose=0)), ndcg(grades[240:], rng.random((60, DOCS)))))
