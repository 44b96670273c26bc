import numpy as np
import keras
from keras import layers

keras.utils.set_random_seed(66)
rng = np.random.default_rng(66)

# bicycles rented per shop and weekday: size of the shop times a weekday factor
SHOPS, DAYS = 40, 7
size = np.exp(rng.normal(2.5, 0.8, SHOPS))
factor = np.array([0.7, 0.6, 0.6, 0.8, 1.0, 1.8, 1.6])
shop = rng.integers(0, SHOPS, 4000)
day = rng.integers(0, DAYS, 4000)
rented = rng.poisson(size[shop] * factor[day]).astype("float32")

shop_in = keras.Input((1,), dtype="int32")
day_in = keras.Input((1,), dtype="int32")
s = layers.Flatten()(layers.Embedding(SHOPS, 1, name="shop_size")(shop_in))
d = layers.Flatten()(layers.Embedding(DAYS, 1, embeddings_initializer="ones", name="weekday_factor")(day_in))
product = layers.Multiply()([s, d])
model = keras.Model([shop_in, day_in], layers.Activation("softplus", name="rented")(product))

# counts span three orders of magnitude, so compare logarithms
model.compile(optimizer=keras.optimizers.Adam(0.05), loss="mean_squared_logarithmic_error")
history = model.fit([shop[:, None], day[:, None]], rented[:, None], batch_size=100, epochs=25, verbose=0)
print("loss", [round(v, 4) for v in history.history["loss"][::6]])
pred = model.predict([shop[:, None], day[:, None]], verbose=0)[:, 0]
per_shop = np.array([np.abs(pred[shop == i] - rented[shop == i]).mean() / rented[shop == i].mean() for i in range(SHOPS)])
print("relative error by shop: median %.2f" % np.median(per_shop), " shops above 0.9:", int((per_shop > 0.9).sum()))
