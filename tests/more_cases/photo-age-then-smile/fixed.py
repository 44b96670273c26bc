import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(26)
rng = np.random.default_rng(26)

faces = rng.normal(size=(512, 12)).astype("float32")
age = (faces[:, :3].sum(axis=1, keepdims=True) + 0.2 * rng.normal(size=(512, 1))).astype("float32")
smile = (faces[:, 5:6] - faces[:, 7:8] + 0.3 * rng.normal(size=(512, 1)) > 0).astype("float32")


inputs = keras.Input((12,))
h = layers.Dense(24, activation="relu")(inputs)
age_out = layers.Dense(1, name="age")(h)
smile_out = layers.Dense(1, activation="sigmoid", name="smile")(h)
model = keras.Model(inputs, {"age": age_out, "smile": smile_out})

# first mostly the age, then mostly the smile
history = {}
for weights, first, last in (({"age": 1.0, "smile": 0.02}, 0, 4), ({"age": 0.02, "smile": 1.0}, 4, 10)):
    model.compile(
        optimizer=keras.optimizers.Adam(5e-3),
        loss={"age": "mse", "smile": "binary_crossentropy"},
        loss_weights=weights,
        metrics={"smile": ["accuracy"]},
    )
    phase = model.fit(
        faces, {"age": age, "smile": smile}, batch_size=32, initial_epoch=first, epochs=last, verbose=0
    ).history
    for name, values in phase.items():
        history.setdefault(name, []).extend(values)
for epoch in (3, 4, 9):
    parts = {name: round(values[epoch], 3) for name, values in history.items()}
    print("epoch", epoch + 1, parts)
