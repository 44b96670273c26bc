import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(17)
rng = np.random.default_rng(17)

# CT slices as the scanner exports them: (slice, channel, row, column)
CLASSES, SIZE = 3, 24            # background, liver, kidney


def scan(count):
    yy, xx = np.mgrid[:SIZE, :SIZE]
    label = np.zeros((count, SIZE, SIZE), dtype=int)
    for i in range(count):
        for organ in (1, 2):
            cy, cx = rng.integers(5, SIZE - 5, size=2)
            label[i][(yy - cy) ** 2 + (xx - cx) ** 2 < 20] = organ
    density = np.array([0.0, 1.0, -1.0])[label] + 0.6 * rng.normal(size=label.shape)
    return density[:, None].astype("float32"), label


slices, label = scan(160)
one_hot = np.moveaxis(np.eye(CLASSES, dtype="float32")[label], -1, 1)


def conv_block(x, filters):
    # channels_first convolutions are not available on every CPU build
    x = layers.Permute((2, 3, 1))(x)
    x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    return layers.Permute((3, 1, 2))(x)


inputs = keras.Input((1, SIZE, SIZE))
x = conv_block(inputs, 12)
x = conv_block(x, 12)
x = layers.Permute((2, 3, 1))(x)
x = layers.Conv2D(CLASSES, 1)(x)
logits = layers.Permute((3, 1, 2))(x)
outputs = layers.Activation("softmax")(logits)
model = keras.Model(inputs, outputs)
model.compile(
    optimizer=keras.optimizers.Adam(1e-2),
    loss=keras.losses.CategoricalCrossentropy(),
)
history = model.fit(slices, one_hot, batch_size=16, epochs=6, validation_split=0.2, verbose=0)
print("loss    ", np.round(history.history["loss"], 3))
print("val_loss", np.round(history.history["val_loss"], 3))

found = model.predict(slices, verbose=0).argmax(1)
print("pixels right %.3f" % (found == label).mean())
for organ, name in enumerate(["background", "liver", "kidney"]):
    inter = ((found == organ) & (label == organ)).sum()
    print(name, "dice %.3f" % (2 * inter / ((found == organ).sum() + (label == organ).sum())))
