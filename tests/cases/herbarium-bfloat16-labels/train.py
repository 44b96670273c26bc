import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(9)
keras.config.set_floatx("bfloat16")  # halves the memory on the cluster

rng = np.random.default_rng(9)

# leaf descriptors of 501 species, 12 sheets each
n_species, per_species, dim = 501, 12, 48
prototypes = rng.normal(size=(n_species, dim))
species = np.repeat(np.arange(n_species), per_species)
x = prototypes[species] + 0.15 * rng.normal(size=(len(species), dim))
x = x.astype("float32")
order = rng.permutation(len(x))
x, species = x[order], species[order]
n_train = 5000


def build(n_classes):
    return keras.Sequential(
        [
            keras.Input((dim,)),
            layers.Dense(256, activation="relu"),
            layers.Dense(n_classes),
        ]
    )


model = build(n_species)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss=loss)
history = model.fit(x[:n_train], species[:n_train], batch_size=50, epochs=6, verbose=0)
print("loss per epoch", [round(float(v), 3) for v in history.history["loss"]])

logits = model.predict(x[n_train:], verbose=0).astype("float32")
right = logits.argmax(axis=1) == species[n_train:]
print("right on new sheets: %.1f %%" % (100 * right.mean()))
for low, high in ((0, 250), (250, 501)):
    group = (species[n_train:] >= low) & (species[n_train:] < high)
    print("  species %3d..%3d: %.1f %%" % (low, high - 1, 100 * right[group].mean()))
