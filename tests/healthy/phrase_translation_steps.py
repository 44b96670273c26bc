# backends: tensorflow, jax, torch
"""Sequence to sequence: masked embeddings, sparse labels and a sample weight for every time step."""

import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(47)
rng = np.random.default_rng(47)
WORDS, LENGTH = 12, 7

source = np.zeros((256, LENGTH), "int32")
for row in source:
    n = rng.integers(3, LENGTH + 1)
    row[:n] = rng.integers(1, WORDS, n)
target = np.where(source > 0, WORDS - source, 0)  # word k is translated by word 12 - k
before = np.concatenate([np.full((256, 1), WORDS), target[:, :-1]], axis=1)
step_weight = (target > 0).astype("float32")
step_weight[:, 0] *= 2.0  # the first word matters most

source_in = keras.Input((LENGTH,), dtype="int32", name="source")
before_in = keras.Input((LENGTH,), dtype="int32", name="before")
encoded, state = layers.GRU(24, return_sequences=True, return_state=True)(
    layers.Embedding(WORDS + 1, 12, mask_zero=True)(source_in)
)
decoded = layers.GRU(24, return_sequences=True)(
    layers.Embedding(WORDS + 1, 12, mask_zero=True)(before_in), initial_state=state
)
outputs = layers.Dense(WORDS + 1, activation="softmax")(layers.Concatenate()([decoded, encoded]))
model = keras.Model([source_in, before_in], outputs)
model.compile(
    optimizer=keras.optimizers.Adam(0.02), loss="sparse_categorical_crossentropy", weighted_metrics=["sparse_categorical_accuracy"]
)
history = model.fit([source, before], target, sample_weight=step_weight, batch_size=32, epochs=4, verbose=0).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
