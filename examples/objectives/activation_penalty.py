"""Read handwritten digits with a hidden layer that is kept sparse: a loss on a layer's activations.

What people try: a closure over `layer.output`, which fails in Keras 3, since that tensor stands for no batch. Here
`lp.layer("code")` is what the layer gives in the very forward pass that makes the predictions.
"""

import keras
from keras import layers, ops
from sklearn.datasets import load_digits

import lossproof as lp


def make_data():
    """1797 digits: pixels of shape (N, 64) in 0 ... 1, labels of shape (N,)."""
    digits = load_digits()
    return (digits.data / 16.0).astype("float32"), digits.target.astype("int32")


def build_model():
    inputs = keras.Input((64,), name="pixels")
    code = layers.Dense(48, activation="relu", name="code")(inputs)
    outputs = layers.Dense(10, name="digit")(code)
    return keras.Model(inputs, outputs)


def sparsity(code):
    """Mean activation of each sample, shape (batch,)."""
    return ops.mean(ops.abs(code), axis=-1)


def make_objective():
    return lp.Objective(
        [
            lp.Term(keras.losses.SparseCategoricalCrossentropy(from_logits=True), name="crossentropy"),
            lp.Term(sparsity, code=lp.layer("code"), weight=0.3),
        ]
    )


def main():
    keras.utils.set_random_seed(1)
    x, y = make_data()
    model = build_model()
    trainer = lp.Trainer(model, make_objective())
    trainer.compile(keras.optimizers.Adam(0.005), metrics=["accuracy"])
    history = trainer.fit(x[:1500], y[:1500], validation_data=(x[1500:], y[1500:]), epochs=6, batch_size=50, verbose=0)
    for name, values in history.history.items():
        print(f"{name:18s} {values[0]:.4f} -> {values[-1]:.4f}")


if __name__ == "__main__":
    main()
