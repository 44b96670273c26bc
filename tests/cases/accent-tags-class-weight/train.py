import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(31)
rng = np.random.default_rng(31)

SENTENCES, LENGTH, FEATS, TAGS = 384, 32, 8, 3   # no accent, pitch accent, phrase accent


def make_corpus():
    prosody = rng.normal(size=(SENTENCES, LENGTH, FEATS)).astype("float32")
    score = prosody[..., 0] + 0.8 * rng.normal(size=(SENTENCES, LENGTH))
    tags = np.zeros((SENTENCES, LENGTH), dtype="int32")
    tags[score > 1.4] = 1
    tags[score > 2.2] = 2
    return prosody, tags


prosody, tags = make_corpus()
counts = np.bincount(tags.ravel(), minlength=TAGS)
class_weight = {i: counts.sum() / (TAGS * c) for i, c in enumerate(counts)}
print("tags", counts, {k: round(float(v), 2) for k, v in class_weight.items()})

tagger = keras.Sequential(
    [
        layers.Input((LENGTH, FEATS)),
        layers.Bidirectional(layers.GRU(8, return_sequences=True)),
        layers.TimeDistributed(layers.Dense(TAGS, activation="softmax")),
    ]
)
tagger.compile(optimizer=keras.optimizers.Adam(1e-2), loss="sparse_categorical_crossentropy")
history = tagger.fit(prosody, tags, class_weight=class_weight, epochs=8, verbose=0)
print("loss", np.round(history.history["loss"], 3))

found = tagger.predict(prosody, verbose=0).argmax(-1)
for t in range(TAGS):
    print("recall of tag %d: %.2f" % (t, (found[tags == t] == t).mean()))
