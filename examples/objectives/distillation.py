"""A small network learns digits from labels and from what a larger one says of them (Hinton, Vinyals and Dean 2015).

The teacher's answers are one more target: `lp.target("teacher")` need not be an output of the model.
"""

import keras
from keras import layers, ops
from sklearn.datasets import load_digits

import lossproof as lp

TEMPERATURE = 3.0


def make_data():
    """1797 digits: pixels of shape (N, 64) in 0 ... 1, labels of shape (N,)."""
    digits = load_digits()
    return (digits.data / 16.0).astype("float32"), digits.target.astype("int32")


def build_model(units=16):
    pixels = keras.Input((64,), name="pixels")
    h = layers.Dense(units, activation="relu")(pixels)
    return keras.Model(pixels, layers.Dense(10, name="digit")(h))


def distillation(teacher, student, temperature):
    """KL divergence of the student's softened answer from the teacher's times temperature squared, shape (batch,)."""
    answer = ops.log_softmax(student / temperature, axis=-1)
    taught = ops.log_softmax(teacher / temperature, axis=-1)
    return temperature**2 * ops.sum(ops.exp(taught) * (taught - answer), axis=-1)


def make_objective():
    return lp.Objective(
        [
            lp.Term(
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                name="crossentropy",
                output="digit",
                target="digit",
                weight=0.3,
            ),
            lp.Term(
                distillation,
                teacher=lp.target("teacher"),
                student=lp.output("digit"),
                temperature=TEMPERATURE,
                weight=0.7,
            ),
        ]
    )


def main():
    keras.utils.set_random_seed(6)
    x, y = make_data()
    teacher = build_model(units=128)
    teacher.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    teacher.fit(x[:1500], y[:1500], epochs=10, verbose=0)
    trainer = lp.Trainer(build_model(), make_objective())
    trainer.compile(keras.optimizers.Adam(0.005), metrics={"digit": ["accuracy"]})
    targets = {"digit": y[:1500], "teacher": teacher.predict(x[:1500], verbose=0)}
    history = trainer.fit(x[:1500], targets, epochs=8, batch_size=50, verbose=0).history
    for name, values in history.items():
        print(f"{name:16s} {values[0]:.4f} -> {values[-1]:.4f}")
    said = trainer.predict(x[1500:], verbose=0).argmax(1)
    print(f"digits never seen: {(said == y[1500:]).mean():.0%} right")


if __name__ == "__main__":
    main()
