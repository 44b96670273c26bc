import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(27)
rng = np.random.default_rng(27)

# toy translation word by word: ids 1..29 of the source to ids 1..19 of the target, 0 is padding
SRC, TGT, MAXLEN = 30, 20, 24
lexicon = np.concatenate([[0], rng.integers(1, TGT, SRC - 1)])


def corpus(n):
    length = rng.integers(2, 7, n)
    src = rng.integers(1, SRC, (n, MAXLEN))
    src[np.arange(MAXLEN)[None, :] >= length[:, None]] = 0
    # the word before decides between two translations
    before = np.roll(src, 1, axis=1)
    before[:, 0] = 0
    tgt = lexicon[(src + (before > SRC // 2)) % SRC]
    tgt = np.where(tgt == 0, 1, tgt)
    tgt[src == 0] = 0
    return src.astype("int32"), tgt.astype("int32")


class Translator(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed = layers.Embedding(SRC, 16, mask_zero=True)
        self.rnn = layers.GRU(24, return_sequences=True)
        self.out = layers.Dense(TGT)

    def call(self, tokens):
        return self.out(self.rnn(self.embed(tokens)))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        xent = ops.sparse_categorical_crossentropy(y, y_pred, from_logits=True)
        return ops.mean(xent)


src, tgt = corpus(900)
src_test, tgt_test = corpus(200)

model = Translator()
model.compile(optimizer=keras.optimizers.Adam(5e-3))
for epoch in range(6):
    history = model.fit(src, tgt, batch_size=45, epochs=1, verbose=0)
    logits = model.predict(src_test, verbose=0)
    words = tgt_test > 0
    print("epoch %d  loss %.3f  right words %.3f" % (
        epoch + 1, history.history["loss"][0], (logits.argmax(-1) == tgt_test)[words].mean()))

z = logits - logits.max(-1, keepdims=True)
logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
nll = -np.take_along_axis(logp, tgt_test[..., None], -1)[..., 0]
print("cross-entropy per word by hand: %.3f, per position: %.3f" % (nll[words].mean(), nll.mean()))
