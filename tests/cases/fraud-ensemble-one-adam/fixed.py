import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(31)
rng = np.random.default_rng(31)

# three networks for three regions, trained one after the other
n = 512


def network():
    return keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1, activation="sigmoid")]
    )


networks = [network() for _ in range(3)]
for region, model in enumerate(networks):
    x = rng.normal(size=(n, 10)).astype("float32")
    y = (x @ rng.normal(size=10) > 0).astype("float32")[:, None]
    optimizer = keras.optimizers.Adam(2e-2)
    model.compile(optimizer=optimizer, loss="binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=32, epochs=3, verbose=0)
    print(
        "region", region,
        "loss of the first epoch %.3f" % history.history["loss"][0],
        "steps the optimizer has counted", int(optimizer.iterations),
    )
