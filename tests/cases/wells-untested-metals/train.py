import numpy as np
import pandas as pd
import keras
from keras import layers

keras.utils.set_random_seed(9)
rng = np.random.default_rng(9)

# groundwater wells: site survey -> concentration of three metals; not every lab tests every metal
METALS = ["arsenic", "lead", "uranium"]
n = 600
survey = rng.normal(size=(n, 8)).astype("float32")
table = pd.DataFrame(
    np.log1p(np.exp(survey @ rng.normal(size=(8, 3)) * 0.5)) + 0.05 * rng.normal(size=(n, 3)), columns=METALS
)
for metal, share in zip(METALS, (0.0, 0.15, 0.6)):
    table.loc[rng.random(n) < share, metal] = np.nan
print(table.isna().mean().round(2).to_dict())

inputs = keras.Input((8,), name="survey")
h = layers.Dense(32, activation="relu")(inputs)
heads = [layers.Dense(1, name=metal)(h) for metal in METALS]
model = keras.Model(inputs, heads)
model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=["mse"] * 3)

targets = [table[m].to_numpy("float32")[:, None] for m in METALS]
tested = [table[m].notna().to_numpy("float32") for m in METALS]     # 0 = not tested, does not count

history = model.fit(survey, targets, sample_weight=tested, batch_size=50, epochs=20, verbose=0)
for key in ["loss"] + [m + "_loss" for m in METALS]:
    print(f"{key:14s}", np.round(history.history[key][::5], 4))

for metal, p in zip(METALS, model.predict(survey, verbose=0)):
    print(metal, "mse on the tested wells %.4f" % np.nanmean((p.ravel() - table[metal]) ** 2))
