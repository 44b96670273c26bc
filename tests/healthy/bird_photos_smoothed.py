# backends: tensorflow, jax, torch
"""Label smoothing, augmentation, batch normalisation and dropout, fed by tf.data with a short last batch."""

import numpy as np
import tensorflow as tf
import keras
from keras import layers

keras.utils.set_random_seed(17)
rng = np.random.default_rng(17)

bird = rng.integers(0, 3, 210)
photos = rng.uniform(0, 1, size=(210, 8, 8, 3)).astype("float32")
photos[np.arange(210), :, :, bird] += 0.4
targets = keras.utils.to_categorical(bird, 3)

model = keras.Sequential(
    [
        layers.Input((8, 8, 3)),
        layers.RandomFlip("horizontal", seed=1),
        layers.Conv2D(8, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.1, seed=2),
        layers.Dense(3, activation="softmax"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
    metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
)
train = tf.data.Dataset.from_tensor_slices((photos[:170], targets[:170])).shuffle(170, seed=0).batch(32)
held_out = tf.data.Dataset.from_tensor_slices((photos[170:], targets[170:])).batch(32)
history = model.fit(train, validation_data=held_out, epochs=4, verbose=0).history
print({name: np.round(values[-1], 3) for name, values in history.items()})
