"""Every loss of `keras.losses`, on data made for it: no error and no warning, but for what Keras itself gets wrong.

Each class is checked without sample weights and each function with them, compiled into a small model.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses

import lossproof
from lossproof.findings.finding import Finding
from lossproof.report.report import Report

BACKEND = os.environ["KERAS_BACKEND"]
ROWS, CLASSES, SIDE = 64, 4, 6

_random = np.random.default_rng(3)
X = _random.normal(size=(ROWS, 4)).astype("float32")
IMAGES = _random.normal(size=(ROWS, SIDE, SIDE, 2)).astype("float32")
SOUNDS = _random.normal(size=(ROWS, 10, 3)).astype("float32")
WEIGHTS = _random.uniform(0.2, 1.0, ROWS).astype("float32")

REAL = _random.normal(size=(ROWS, 3)).astype("float32")
POSITIVE = np.exp(REAL)
COUNTS = _random.poisson(2.0, size=(ROWS, 3)).astype("float32")
BINARY = (REAL > 0).astype("float32")
SIGNS = 2.0 * BINARY - 1.0
IDS = _random.permutation(np.arange(ROWS) % CLASSES).astype("int32")
ONE_HOT = np.eye(CLASSES, dtype="float32")[IDS]
SHARES = _random.dirichlet(np.ones(CLASSES), size=ROWS).astype("float32")
SOME_IDS = np.where(np.arange(ROWS) % 5 == 0, -1, IDS).astype("int32")
REGIONS = _random.integers(0, CLASSES, (ROWS, SIDE, SIDE)).astype("int32")
SOME_REGIONS = np.where(_random.random(REGIONS.shape) < 0.2, 255, REGIONS).astype("int32")
SOME_REGIONS[3] = 255
MASKS = (_random.random((ROWS, SIDE, SIDE, 1)) < 0.3).astype("float32")
MASKS[5] = 0.0
SPELLED = np.where(np.arange(4) < _random.integers(1, 5, (ROWS, 1)), _random.integers(1, 5, (ROWS, 4)), 0)
"""Between one and four symbols in each row, then zeros."""


# Models -------------------------------------------------------------------------------------------------------------


def dense(outputs: int, activation: str | None = None) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(8, "tanh"), layers.Dense(outputs, activation)])


def embedding() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(8, "tanh"), layers.Dense(5), layers.UnitNormalization()])


def per_pixel(outputs: int, activation: str | None = None) -> keras.Model:
    inputs = keras.Input((SIDE, SIDE, 2))
    hidden = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, layers.Conv2D(outputs, 1, activation=activation)(hidden))


def per_step() -> keras.Model:
    inputs = keras.Input((10, 3))
    return keras.Model(inputs, layers.Dense(5)(layers.Conv1D(8, 3, padding="same", activation="relu")(inputs)))


# Data for each loss ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A loss of Keras, as a class and as a function, with targets and a model that it is for."""

    loss: str
    function: str
    y: np.ndarray
    model: Callable[[], keras.Model]
    arguments: dict[str, Any] = field(default_factory=dict)
    batch_size: int | None = None

    @property
    def weights(self) -> np.ndarray:
        """Sample weights, of the shape of what the loss returns."""
        return _random.uniform(0.2, 1.0, self.y.shape).astype("float32") if self.y.ndim == 3 else WEIGHTS

    @property
    def as_class(self) -> losses.Loss:
        """An instance of the class."""
        return getattr(losses, self.loss)(**self.arguments)

    @property
    def as_function(self) -> Callable[..., Any]:
        """The function, with the arguments bound."""
        function = getattr(losses, self.function)
        return functools.partial(function, **self.arguments) if self.arguments else function

    def check(self, loss: Any, **data: Any) -> Report:
        """The report on the loss in the model."""
        model = self.model()
        model.compile(optimizer="sgd", loss=loss)
        x = {2: X, 3: SOUNDS, 4: IMAGES}[len(model.input_shape)]
        report = lossproof.check(model, x, self.y, batch_size=self.batch_size, **data)
        assert not report.crashed, report.crashed
        assert not report.notices
        return report


MSE = ("MeanSquaredError", "mean_squared_error")
MAE = ("MeanAbsoluteError", "mean_absolute_error")
MAPE = ("MeanAbsolutePercentageError", "mean_absolute_percentage_error")
MSLE = ("MeanSquaredLogarithmicError", "mean_squared_logarithmic_error")
HUBER, LOG_COSH = ("Huber", "huber"), ("LogCosh", "log_cosh")
COSINE = ("CosineSimilarity", "cosine_similarity")
HINGE, SQUARED_HINGE = ("Hinge", "hinge"), ("SquaredHinge", "squared_hinge")
CATEGORICAL_HINGE = ("CategoricalHinge", "categorical_hinge")
KL, POISSON = ("KLDivergence", "kl_divergence"), ("Poisson", "poisson")
BINARY_CE = ("BinaryCrossentropy", "binary_crossentropy")
BINARY_FOCAL = ("BinaryFocalCrossentropy", "binary_focal_crossentropy")
CE = ("CategoricalCrossentropy", "categorical_crossentropy")
FOCAL = ("CategoricalFocalCrossentropy", "categorical_focal_crossentropy")
SPARSE_CE = ("SparseCategoricalCrossentropy", "sparse_categorical_crossentropy")
GENERALIZED_CE = ("CategoricalGeneralizedCrossEntropy", "categorical_generalized_cross_entropy")
CTC, CIRCLE = ("CTC", "ctc"), ("Circle", "circle")
DICE, TVERSKY = ("Dice", "dice"), ("Tversky", "tversky")

PER_IMAGE = {"axis": (1, 2, 3)}
LOGITS = {"from_logits": True}

SOUND = {
    "mse": Case(*MSE, REAL, lambda: dense(3)),
    "mse, one output": Case(*MSE, REAL[:, 0], lambda: dense(1)),
    "mae": Case(*MAE, REAL, lambda: dense(3)),
    "mape": Case(*MAPE, POSITIVE, lambda: dense(3, "softplus")),
    "msle": Case(*MSLE, POSITIVE, lambda: dense(3, "softplus")),
    "msle of counts": Case(*MSLE, COUNTS, lambda: dense(3, "relu")),
    "huber": Case(*HUBER, REAL, lambda: dense(3)),
    "huber, one output": Case(*HUBER, REAL[:, 0], lambda: dense(1), {"delta": 0.5}),
    "log cosh": Case(*LOG_COSH, REAL, lambda: dense(3)),
    "cosine": Case(*COSINE, REAL, lambda: dense(3)),
    "hinge": Case(*HINGE, SIGNS, lambda: dense(3)),
    "hinge of 0 and 1": Case(*HINGE, BINARY[:, 0], lambda: dense(1, "tanh")),
    "squared hinge": Case(*SQUARED_HINGE, SIGNS, lambda: dense(3, "tanh")),
    "categorical hinge": Case(*CATEGORICAL_HINGE, ONE_HOT, lambda: dense(CLASSES)),
    "kl": Case(*KL, SHARES, lambda: dense(CLASSES, "softmax")),
    "kl of one class": Case(*KL, ONE_HOT, lambda: dense(CLASSES, "softmax")),
    "poisson": Case(*POISSON, COUNTS, lambda: dense(3, "softplus")),
    "poisson, one output": Case(*POISSON, COUNTS[:, 0], lambda: dense(1, "exponential")),
    "binary": Case(*BINARY_CE, BINARY, lambda: dense(3, "sigmoid")),
    "binary, one output": Case(*BINARY_CE, BINARY[:, 0], lambda: dense(1, "sigmoid")),
    "binary, logits": Case(*BINARY_CE, BINARY, lambda: dense(3), LOGITS),
    "binary, smoothed": Case(*BINARY_CE, BINARY, lambda: dense(3, "sigmoid"), {"label_smoothing": 0.1}),
    "binary focal": Case(*BINARY_FOCAL, BINARY, lambda: dense(3, "sigmoid"), {"apply_class_balancing": True}),
    "binary focal, logits": Case(*BINARY_FOCAL, BINARY, lambda: dense(3), LOGITS),
    "categorical": Case(*CE, ONE_HOT, lambda: dense(CLASSES, "softmax")),
    "categorical, logits": Case(*CE, ONE_HOT, lambda: dense(CLASSES), LOGITS),
    "categorical, smoothed": Case(*CE, ONE_HOT, lambda: dense(CLASSES, "softmax"), {"label_smoothing": 0.1}),
    "focal": Case(*FOCAL, ONE_HOT, lambda: dense(CLASSES, "softmax")),
    "focal, logits": Case(*FOCAL, ONE_HOT, lambda: dense(CLASSES), LOGITS),
    "sparse": Case(*SPARSE_CE, IDS, lambda: dense(CLASSES, "softmax")),
    "sparse, (N, 1)": Case(*SPARSE_CE, IDS[:, None], lambda: dense(CLASSES, "softmax")),
    "sparse, logits": Case(*SPARSE_CE, IDS, lambda: dense(CLASSES), LOGITS),
    "sparse, unlabelled": Case(*SPARSE_CE, SOME_IDS, lambda: dense(CLASSES, "softmax"), {"ignore_class": -1}),
    "sparse, regions": Case(*SPARSE_CE, REGIONS, lambda: per_pixel(CLASSES, "softmax")),
    "sparse, unlabelled regions": Case(
        *SPARSE_CE, SOME_REGIONS, lambda: per_pixel(CLASSES), {"ignore_class": 255, **LOGITS}
    ),
    "generalized": Case(*GENERALIZED_CE, IDS, lambda: dense(CLASSES, "softmax"), {"q": 0.5}),
    "ctc": Case(*CTC, SPELLED.astype("int32"), per_step, batch_size=4),
    "dice": Case(*DICE, MASKS, lambda: per_pixel(1, "sigmoid"), PER_IMAGE),
    "tversky": Case(*TVERSKY, MASKS, lambda: per_pixel(1, "sigmoid"), {"alpha": 0.3, "beta": 0.7, **PER_IMAGE}),
    "circle": Case(*CIRCLE, IDS, embedding),
    "circle of pairs": Case(*CIRCLE, np.arange(ROWS, dtype="int32") // 2, embedding, {"remove_diagonal": False}),
}


EACH = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "ctc" else name for name in SOUND]
)


def public() -> dict[str, Any]:
    """What `keras.losses` offers as a loss."""
    others = {"Loss", "get", "serialize", "deserialize"}
    return {name: value for name, value in vars(losses).items() if not name.startswith("_") and name not in others}


def test_every_loss_of_keras_has_data() -> None:
    assert set(public()) == {name for case in SOUND.values() for name in (case.loss, case.function)}


def test_both_forms_have_data() -> None:
    forms = {(case.loss, case.arguments.get("from_logits", False)) for case in SOUND.values()}
    both = {name for name, value in public().items() if "from_logits" in inspect.signature(value).parameters}
    assert {(name, form) for name in both if inspect.isclass(public()[name]) for form in (False, True)} <= forms


@EACH
def test_a_class_is_sound(name: str) -> None:
    report = SOUND[name].check(SOUND[name].as_class)
    assert not report.loud, [(finding.code, finding.title) for finding in report.loud]
    assert {"LP105", "LP203", "LP204"} <= set(report.checked)


@EACH
def test_a_function_is_sound_with_sample_weights(name: str) -> None:
    report = SOUND[name].check(SOUND[name].as_function, sample_weight=SOUND[name].weights)
    assert not report.loud, [(finding.code, finding.title) for finding in report.loud]
    assert {"LP103", "LP105", "LP203", "LP204"} <= set(report.checked)


# What Keras gets wrong ------------------------------------------------------------------------------------------------


def only(report: Report, code: str) -> Finding:
    assert code in {finding.code for finding in report.loud}, report.findings
    return next(finding for finding in report.loud if finding.code == code)


@pytest.mark.parametrize("form", ["as_class", "as_function"])
def test_generalized_crossentropy_pairs_a_column_of_ids_with_every_row(form: str) -> None:
    """`one_hot` of ids (B, 1), which is how Keras hands over a pandas Series, is (B, 1, C): p is (B, B)."""
    q = 0.7
    case = Case(*GENERALIZED_CE, IDS[:32, None], lambda: dense(CLASSES, "softmax"), {"q": q})
    model = case.model()
    model.compile(optimizer="sgd", loss=getattr(case, form))
    report = lossproof.check(model, X[:32], case.y)
    assert {finding.code for finding in report.loud} <= {"LP101", "LP203"}  # p of the other rows is 0: 0 ** (q - 1)
    found = only(report, "LP101")
    of_class = np.asarray(model.predict(X[:32], verbose=0), dtype="float64")[:, IDS[:32]]  # [row, target]
    assert found.counterfactual.before == pytest.approx(np.mean((1.0 - of_class**q) / q), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean((1.0 - np.diag(of_class) ** q) / q), rel=1e-5)


def test_binary_focal_crossentropy_has_no_gradient_at_a_sure_prediction_below_a_gamma_of_1() -> None:
    """(1 - p) ** gamma * -log p falls to 0 with slope 0 as p comes to 1; autodiff multiplies 0 by inf there."""
    gamma = 0.5
    p = 1.0 - np.logspace(-3, -9, 7)
    slope = -gamma * (1.0 - p) ** (gamma - 1.0) * -np.log(p) - (1.0 - p) ** gamma / p
    assert np.all(np.abs(slope) < 2.0 * np.sqrt(1.0 - p))
    case = Case(*BINARY_FOCAL, BINARY, lambda: dense(3, "sigmoid"), {"gamma": gamma})
    found = only(case.check(case.as_class), "LP203")
    assert not np.isfinite(found.counterfactual.before)
    assert np.isfinite(found.counterfactual.after)


@pytest.mark.backend(
    "jax", "torch"
)  # TensorFlow's own kernels give 0 for 0 * inf; XLA, which it uses elsewhere, does not
def test_cosine_similarity_has_no_gradient_at_a_prediction_of_zeros() -> None:
    """Its `normalize` bounds rsqrt(0) by `minimum`, which bounds the value and not the derivative."""
    start = {"kernel_initializer": "zeros"}
    case = Case(*COSINE, REAL, lambda: keras.Sequential([keras.Input((4,)), layers.Dense(3, **start)]))
    found = only(case.check(case.as_class), "LP203")
    assert not np.isfinite(found.counterfactual.before)


def test_cosine_similarity_under_a_relu_that_is_off_keeps_its_nan_to_itself() -> None:
    """The derivative is NaN there as well, but a relu that is off hands on 0: training goes on."""
    sparse = np.maximum(REAL, 0.0) * (np.arange(ROWS) % 4 > 0)[:, None]
    case = Case(*COSINE, sparse.astype("float32"), lambda: dense(3, "relu"))
    assert not case.check(case.as_class).loud
    off = keras.Sequential([keras.Input((4,)), layers.Dense(3, "relu")])
    off.set_weights([np.zeros((4, 3)), -np.ones(3)])
    off.compile(optimizer="sgd", loss=case.as_class)
    off.fit(X, case.y, verbose=0)
    assert all(np.isfinite(weight).all() for weight in off.get_weights())


def test_binary_crossentropy_in_float16_has_an_epsilon_of_nothing() -> None:
    assert np.float16(1.0) - np.float16(keras.config.epsilon()) == 1.0
    loss = losses.BinaryCrossentropy(dtype="float16")
    report = lossproof.check_loss(loss, BINARY[:32], BINARY[:32])  # all of them right and sure
    assert {finding.code for finding in report.loud} == {"LP307"}
    assert not lossproof.check_loss(losses.BinaryCrossentropy(), BINARY[:32], BINARY[:32]).loud


@pytest.mark.parametrize("names", [DICE, TVERSKY], ids=["dice", "tversky"])
def test_overlap_of_the_whole_batch_leaves_nothing_to_weight(names: tuple[str, str]) -> None:
    """By default they reduce over all axes, the batch too."""
    case = Case(*names, MASKS[:32], lambda: per_pixel(1, "sigmoid"))
    model = case.model()
    model.compile(optimizer="sgd", loss=case.as_class)
    (note,) = [one for one in lossproof.check(model, IMAGES[:32], case.y).findings if one.code == "LP103"]
    assert note.severity == "note"
    found = only(lossproof.check(model, IMAGES[:32], case.y, sample_weight=WEIGHTS[:32]), "LP103")
    p, y = np.asarray(model.predict(IMAGES[:32], verbose=0), dtype="float64"), case.y.astype("float64")
    whole = 1.0 - 2.0 * (p * y).sum() / (p.sum() + y.sum())  # Tversky with 0.5 and 0.5 is Dice
    each = 1.0 - 2.0 * (p * y).sum((1, 2, 3)) / (p.sum((1, 2, 3)) + y.sum((1, 2, 3)))
    assert found.counterfactual.before == pytest.approx(whole * WEIGHTS[:32].mean(), rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.mean(each * WEIGHTS[:32]), rel=1e-5)
