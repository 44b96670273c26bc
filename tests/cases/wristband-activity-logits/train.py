import keras
import numpy as np
from keras.layers import Conv1D, Dense, Dropout, GlobalAveragePooling1D, Input, Reshape

keras.utils.set_random_seed(15)
rng = np.random.default_rng(15)

ACTIVITIES = ["lying", "sitting", "walking", "stairs", "cycling", "running"]
WINDOW, CHANNELS = 32, 3


def record(activity, n):
    """windows of a three axis accelerometer"""
    t = np.arange(WINDOW) / 16.0
    freq = [0.1, 0.3, 1.6, 1.9, 1.2, 2.8][activity]
    amp = [0.05, 0.15, 0.8, 0.9, 0.6, 1.6][activity]
    phase = rng.uniform(0, 2 * np.pi, (n, 1, CHANNELS))
    wave = amp * rng.uniform(0.8, 1.2, (n, 1, 1)) * np.sin(2 * np.pi * freq * t[None, :, None] + phase)
    return wave + 0.25 * rng.normal(size=wave.shape)


def load(n_per_activity):
    x = np.concatenate([record(a, n_per_activity) for a in range(len(ACTIVITIES))])
    y = np.repeat(np.arange(len(ACTIVITIES)), n_per_activity)
    order = rng.permutation(len(x))
    return x[order].astype("float32"), keras.utils.to_categorical(y[order], len(ACTIVITIES))


def batches(x, y, batch_size):
    while True:
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            yield x[rows], y[rows]


def small_deep_conv(inp_shape, out_shape):
    nb_filters = 16
    inp = Input(inp_shape)
    x = Reshape(inp_shape)(inp)
    x = Conv1D(nb_filters, kernel_size=5, padding="valid", activation="relu")(x)
    x = Conv1D(nb_filters, kernel_size=5, padding="valid", activation="relu")(x)
    act = GlobalAveragePooling1D()(x)
    act = Dropout(0.2, name="dot_1")(act)
    out_act = Dense(out_shape, activation="softmax", name="act_smx")(act)
    return keras.models.Model(inputs=inp, outputs=out_act)


def main():
    x_train, y_train = load(120)
    x_test, y_test = load(40)
    model = small_deep_conv((WINDOW, CHANNELS), len(ACTIVITIES))
    loss_fn = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=loss_fn, metrics=["accuracy"])
    h = model.fit(batches(x_train, y_train, 36), steps_per_epoch=20, epochs=8, verbose=0)
    print("loss by epoch:", [round(v, 3) for v in h.history["loss"]])
    p = model.predict(x_test, verbose=0)
    print("accuracy %.3f" % (p.argmax(1) == y_test.argmax(1)).mean())
    print("log loss %.3f" % -np.log(np.maximum((p * y_test).sum(1), 1e-7)).mean())


if __name__ == "__main__":
    main()
