import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(44)
rng = np.random.default_rng(44)

characters = list("abcdef")
char_to_num = {c: i + 1 for i, c in enumerate(characters)}
num_to_char = {i: c for c, i in char_to_num.items()}
LEN, STEPS, FEATS = 4, 16, 10

# every character leaves a column pattern on four steps of the scan
glyphs = rng.normal(size=(len(characters), FEATS))


def render(words):
    scans = 0.3 * rng.normal(size=(len(words), STEPS, FEATS))
    for i, word in enumerate(words):
        for j, c in enumerate(word):
            scans[i, 4 * j + 1 : 4 * j + 3] += glyphs[characters.index(c)]
    return scans.astype("float32")


words = ["".join(rng.choice(characters, LEN)) for _ in range(500)]
scans = render(words)
labels = np.array([[char_to_num[c] for c in w] for w in words], dtype="int32")

inputs = layers.Input((STEPS, FEATS))
x = layers.Conv1D(32, 3, padding="same", activation="relu")(inputs)
outputs = layers.Dense(len(characters) + 1)(x)
reader = keras.Model(inputs, outputs)
reader.compile(optimizer=keras.optimizers.Adam(5e-3), loss=keras.losses.CTC())
history = reader.fit(scans, labels, batch_size=50, epochs=15, verbose=0)
print("ctc loss", np.round(history.history["loss"][::3], 3))


def decode(logits):
    best = logits.argmax(-1)
    out = []
    for row in best:
        keep = [row[0]] + [b for a, b in zip(row[:-1], row[1:]) if a != b]
        out.append("".join(num_to_char[k] for k in keep if k in num_to_char and k != BLANK))
    return out


BLANK = 0
text = decode(reader.predict(scans, verbose=0))
print(list(zip(words[:6], text[:6])))
print("words read correctly %.2f" % np.mean([a == b for a, b in zip(words, text)]))
print("without an 'a' in it %.2f" % np.mean([a == b for a, b in zip(words, text) if "a" not in a]))
