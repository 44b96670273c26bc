# backends: tensorflow, jax, torch
"""Images and captions in one space: every image is compared with every caption of its batch, on purpose."""

import numpy as np
import keras
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

meaning = rng.normal(size=(512, 6))
image_features = (meaning @ rng.normal(size=(6, 20)) + 0.1 * rng.normal(size=(512, 20))).astype("float32")
caption_features = (meaning @ rng.normal(size=(6, 12)) + 0.1 * rng.normal(size=(512, 12))).astype("float32")


class TwoTowers(keras.Model):
    def __init__(self, width=8):
        super().__init__()
        self.image_tower = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(width)])
        self.caption_tower = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(width)])
        self.log_scale = self.add_weight(shape=(), initializer=keras.initializers.Constant(2.0), name="log_scale")

    def call(self, inputs):
        images, captions = inputs
        images = ops.normalize(self.image_tower(images), axis=-1)
        captions = ops.normalize(self.caption_tower(captions), axis=-1)
        return images, captions

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        images, captions = y_pred
        similarity = ops.exp(self.log_scale) * ops.matmul(images, ops.transpose(captions))
        own = ops.arange(ops.shape(similarity)[0])
        by_image = keras.losses.sparse_categorical_crossentropy(own, similarity, from_logits=True)
        by_caption = keras.losses.sparse_categorical_crossentropy(own, ops.transpose(similarity), from_logits=True)
        return ops.mean(0.5 * (by_image + by_caption))


model = TwoTowers()
model.compile(optimizer=keras.optimizers.Adam(0.01))
history = model.fit((image_features, caption_features), batch_size=64, epochs=5, verbose=0).history["loss"]
print("loss", np.round(history, 3))
images, captions = model.predict((image_features[:64], caption_features[:64]), verbose=0)
print("captions found", np.mean((images @ captions.T).argmax(axis=1) == np.arange(64)))
