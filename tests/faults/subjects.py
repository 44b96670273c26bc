"""The healthy objectives: scripts written for this, the losses of Keras in three forms, the cured examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .script import Subject

FOLDER = Path(__file__).resolve().parent
WRITTEN = tuple(path.stem for path in (FOLDER / "healthy").glob("*.py"))
"""Those that are scripts of their own."""
EXAMPLES = FOLDER.parent.parent / "examples"

HEAD = '''# targets: {targets}
"""{doc}"""

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

x = rng.normal(size=(48, 4)).astype("float32")
y = {y}
importance = rng.uniform(0.2, 1.8, size=48).astype("float32")

'''
BODY = """
model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense({units}{activation})])
model.compile(optimizer=keras.optimizers.SGD(0.05), loss={loss})
model.fit(x, y, batch_size=12, {weights}verbose=0)
"""
OWN = """
def own(y_true, y_pred):
    return keras.losses.{function}(y_true, y_pred{arguments})

"""


@dataclass(frozen=True)
class BuiltIn:
    """A loss of Keras, with targets and an output that it is for."""

    loss: str
    function: str
    targets: str
    y: str
    activation: str = ""
    arguments: str = ""
    units: int = 0

    def subjects(self, tag: str) -> list[Subject]:
        """As a class, as a function, and called by a function of the user's with sample weights."""
        units = self.units or int(self.targets.split(" x ")[1])
        activation = f', activation="{self.activation}"' if self.activation else ""
        head = HEAD.format(targets=self.targets, doc=f"keras.losses.{self.loss}.", y=self.y)
        fields = {"units": units, "activation": activation}
        as_class = BODY.format(loss=f"keras.losses.{self.loss}({self.arguments})", weights="", **fields)
        arguments = f", {self.arguments}" if self.arguments else ""
        own = OWN.format(function=self.function, arguments=arguments)
        as_own = own + BODY.format(loss="own", weights="sample_weight=importance, ", **fields)
        found = [Subject(f"{tag}_class", head + as_class), Subject(f"{tag}_own", head + as_own)]
        if not self.arguments:
            as_function = BODY.format(loss=f"keras.losses.{self.function}", weights="", **fields)
            found.append(Subject(f"{tag}_function", head + as_function))
        return found


REAL = '(x[:, :{0}] + 0.3 * rng.normal(size=(48, {0}))).astype("float32")'
BINARY = '(rng.random((48, {0})) < 0.4).astype("float32")'
ONE_HOT = 'np.eye(4, dtype="float32")[rng.integers(0, 4, size=48)]'
IDS = "rng.integers(0, 4, size=48)"
COUNTS = 'rng.poisson(2.0, size=(48, 2)).astype("float32")'
SHARES = 'rng.dirichlet(np.ones(3), size=48).astype("float32")'
LOGITS = "from_logits=True"

BUILT_IN = {
    "mse": BuiltIn("MeanSquaredError", "mean_squared_error", "real x 3", REAL.format(3)),
    "mse_column": BuiltIn("MeanSquaredError", "mean_squared_error", "real x 1", REAL.format(1)),
    "mae": BuiltIn("MeanAbsoluteError", "mean_absolute_error", "real x 2", REAL.format(2)),
    "mape": BuiltIn(
        "MeanAbsolutePercentageError",
        "mean_absolute_percentage_error",
        "positive x 2",
        f"np.exp({REAL.format(2)})",
        "softplus",
    ),
    "msle": BuiltIn("MeanSquaredLogarithmicError", "mean_squared_logarithmic_error", "counts x 2", COUNTS, "softplus"),
    "keras_huber": BuiltIn("Huber", "huber", "real x 2", REAL.format(2), "", "delta=0.5"),
    "log_cosh": BuiltIn("LogCosh", "log_cosh", "real x 2", REAL.format(2)),
    "keras_cosine": BuiltIn("CosineSimilarity", "cosine_similarity", "real x 3", REAL.format(3)),
    "hinge": BuiltIn("Hinge", "hinge", "signs x 3", f"2.0 * {BINARY.format(3)} - 1.0"),
    "squared_hinge": BuiltIn("SquaredHinge", "squared_hinge", "signs x 2", f"2.0 * {BINARY.format(2)} - 1.0"),
    "categorical_hinge": BuiltIn("CategoricalHinge", "categorical_hinge", "one-hot x 4", ONE_HOT),
    "kl": BuiltIn("KLDivergence", "kl_divergence", "shares x 3", SHARES, "softmax"),
    "keras_poisson": BuiltIn("Poisson", "poisson", "counts x 2", COUNTS, "softplus"),
    "binary": BuiltIn("BinaryCrossentropy", "binary_crossentropy", "binary x 3", BINARY.format(3), "sigmoid"),
    "binary_column": BuiltIn("BinaryCrossentropy", "binary_crossentropy", "binary x 1", BINARY.format(1), "sigmoid"),
    "binary_logits": BuiltIn("BinaryCrossentropy", "binary_crossentropy", "binary x 3", BINARY.format(3), "", LOGITS),
    "binary_focal": BuiltIn(
        "BinaryFocalCrossentropy", "binary_focal_crossentropy", "binary x 3", BINARY.format(3), "sigmoid"
    ),
    "categorical": BuiltIn("CategoricalCrossentropy", "categorical_crossentropy", "one-hot x 4", ONE_HOT, "softmax"),
    "categorical_logits": BuiltIn(
        "CategoricalCrossentropy", "categorical_crossentropy", "one-hot x 4", ONE_HOT, "", LOGITS
    ),
    "categorical_smooth": BuiltIn(
        "CategoricalCrossentropy", "categorical_crossentropy", "one-hot x 4", ONE_HOT, "softmax", "label_smoothing=0.1"
    ),
    "categorical_focal": BuiltIn(
        "CategoricalFocalCrossentropy", "categorical_focal_crossentropy", "one-hot x 4", ONE_HOT, "softmax"
    ),
    "sparse": BuiltIn(
        "SparseCategoricalCrossentropy", "sparse_categorical_crossentropy", "ids", IDS, "softmax", units=4
    ),
    "sparse_logits": BuiltIn(
        "SparseCategoricalCrossentropy", "sparse_categorical_crossentropy", "ids", IDS, "", LOGITS, units=4
    ),
    "generalized": BuiltIn(
        "CategoricalGeneralizedCrossEntropy", "categorical_generalized_cross_entropy", "ids", IDS, "softmax", "q=0.5", 4
    ),
}
"""Keras's losses on columns. Dice, Tversky, Circle and CTC, which need other data, stand in tests/test_keras_losses.py."""

CURES = {
    "broadcast_pairs": (
        "real x 1",
        "sales = (sales + 0.15 * rng.normal(size=640))",
        "sales = (sales + 0.15 * rng.normal(size=640))[:, None]",
    ),
    "weighted_targets": (
        "one-hot x 3",
        "    y_true = ops.multiply(y_true, class_weight)\n    return keras.losses.categorical_crossentropy(y_true, y_pred)",
        """    weight = ops.sum(ops.multiply(y_true, class_weight), axis=-1)
    return weight * keras.losses.categorical_crossentropy(y_true, y_pred)""",
    ),
}
"""What must be written in the examples for them to be healthy: the kind of targets, the line, the line mended."""


def _examples() -> list[Subject]:
    cured = []
    for name, (targets, old, new) in CURES.items():
        source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        if source.count(old) != 1:
            raise ValueError(f"examples/{name}.py has changed: cannot mend it at {old!r}")
        cured.append(Subject(f"example_{name}", f"# targets: {targets}\n" + source.replace(old, new)))
    return cured


def subjects() -> list[Subject]:
    """All of them, in order of their names."""
    written = [Subject(path.stem, path.read_text(encoding="utf-8")) for path in (FOLDER / "healthy").glob("*.py")]
    built_in = [one for tag, loss in BUILT_IN.items() for one in loss.subjects(tag)]
    return sorted([*written, *built_in, *_examples()], key=lambda one: one.name)
