"""LP106: losses whose value for a sample depends on its company, and losses that only seem to."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof
from lossproof.findings.finding import Finding, Severity

from ..gradient.small_models import computing
from .ways import SIZE, WAYS, WEIGHTS, X, Y, linear, predicted, subclass

_random = np.random.default_rng(11)
POSITIVE = (1.0 + Y**2).astype("float32")
TAGS = (Y > 0.4).astype("float32")
ONE = Y[:, :1]
SIGN = TAGS[:, :1]
IDS = np.argmax(Y, axis=1).astype("int32")
MAPS = (_random.random((SIZE, 5, 5, 1)) < _random.uniform(0.1, 0.6, (SIZE, 1, 1, 1))).astype("float32")
SCANS = (MAPS + _random.normal(0, 0.3, MAPS.shape)).astype("float32")
REGIONS = _random.integers(0, 3, (SIZE, 5, 5)).astype("int32")
GAPS = np.where(_random.random(Y.shape) < 0.3, 0.0, Y).astype("float32")
MARKED = np.where(GAPS == 0.0, -1.0, GAPS).astype("float32")


@pytest.fixture(autouse=True)
def _the_same_weights_each_time() -> None:
    keras.utils.set_random_seed(int(os.environ.get("SEED", "5")))


def findings(model: keras.Model, y: Any, x: Any = X, **data: Any) -> list[Finding]:
    report = lossproof.check(model, x, y, select=["LP106"], **data)
    assert not report.crashed, report.crashed
    return list(report.findings)


def compiled(model: keras.Model, loss: Any = None) -> keras.Model:
    model.compile(optimizer="sgd", loss=loss)
    return model


def dense(outputs: int = 3, activation: str | None = None) -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(outputs, activation=activation)(inputs))


def segmenter(activation: str | None = "sigmoid", channels: int = 1) -> keras.Model:
    inputs = keras.Input((5, 5, 1))
    return keras.Model(inputs, layers.Conv2D(channels, 3, padding="same", activation=activation)(inputs))


# Wrong ---------------------------------------------------------------------------------------------------------------


def dice(y_true: Any, y_pred: Any) -> Any:
    return 1.0 - (2.0 * ops.sum(y_true * y_pred) + 1.0) / (ops.sum(y_true) + ops.sum(y_pred) + 1.0)


def dice_of_logits(y_true: Any, y_pred: Any) -> Any:
    return dice(y_true, ops.sigmoid(y_pred))


def dice_and_entropy(y_true: Any, y_pred: Any) -> Any:
    return dice(y_true, y_pred) + ops.mean(keras.losses.binary_crossentropy(y_true, y_pred))


def jaccard(y_true: Any, y_pred: Any) -> Any:
    both = ops.sum(y_true * y_pred)
    return 1.0 - both / (ops.sum(y_true) + ops.sum(y_pred) - both + 1e-7)


def tversky(y_true: Any, y_pred: Any) -> Any:
    t, p = ops.reshape(y_true, (-1,)), ops.reshape(y_pred, (-1,))
    right = ops.sum(t * p)
    index = right / (right + 0.3 * ops.sum((1.0 - t) * p) + 0.7 * ops.sum(t * (1.0 - p)) + 1e-6)
    return ops.power(1.0 - index + 1e-7, 0.75)


def soft_f1(y_true: Any, y_pred: Any) -> Any:
    tp = ops.sum(y_true * y_pred, axis=0)
    fp, fn = ops.sum((1.0 - y_true) * y_pred, axis=0), ops.sum(y_true * (1.0 - y_pred), axis=0)
    return 1.0 - ops.mean(2.0 * tp / (2.0 * tp + fp + fn + 1e-7))


def dice_of_ids(y_true: Any, y_pred: Any) -> Any:
    t = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), 3)
    p = ops.reshape(y_pred, (-1, 3))
    return 1.0 - ops.mean(2.0 * ops.sum(t * p, axis=0) / (ops.sum(t, axis=0) + ops.sum(p, axis=0) + 1e-7))


def unexplained(y_true: Any, y_pred: Any) -> Any:
    rest = ops.sum(ops.square(y_true - y_pred))
    return rest / (ops.sum(ops.square(y_true - ops.mean(y_true))) + 1e-7)


def over_variance(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1) / ops.var(y_true)


def over_largest_target(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - y_pred), axis=-1) / ops.max(ops.abs(y_true))


def target_over_largest(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true / ops.max(ops.abs(y_true)) - y_pred), axis=-1)


def over_largest_error(y_true: Any, y_pred: Any) -> Any:
    error = ops.square(y_true - y_pred)
    return ops.mean(error / (ops.max(error) + 1e-7), axis=-1)


def share_of_absolute(y_true: Any, y_pred: Any) -> Any:
    return ops.sum(ops.abs(y_true - y_pred)) / ops.sum(ops.abs(y_true))


def of_largest(maps: Any) -> Any:
    return maps / (ops.max(maps) + 1e-7)


def scaled_maps(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(of_largest(y_true) - of_largest(y_pred)), axis=(1, 2, 3))


BLURRED = (MAPS + 0.2 * _random.random(MAPS.shape)).astype("float32")
WRONG: dict[str, tuple[Callable[[Any, Any], Any], Callable[[], keras.Model], np.ndarray, np.ndarray]] = {
    "dice": (dice, segmenter, SCANS, MAPS),
    "dice of logits": (dice_of_logits, lambda: segmenter(None), SCANS, MAPS),
    "dice and cross-entropy": (dice_and_entropy, segmenter, SCANS, MAPS),
    "jaccard": (jaccard, segmenter, SCANS, MAPS),
    "focal tversky": (tversky, segmenter, SCANS, MAPS),
    "F1 over the batch": (soft_f1, lambda: dense(3, "sigmoid"), X, TAGS),
    "F1 of one label": (soft_f1, lambda: dense(1, "sigmoid"), X, SIGN),
    "dice of class ids": (dice_of_ids, lambda: segmenter("softmax", 3), SCANS, REGIONS),
    "R2": (unexplained, dense, X, Y),
    "over the variance": (over_variance, dense, X, Y),
    "over the largest target": (over_largest_target, lambda: dense(1), X, ONE),
    "targets over their largest": (target_over_largest, dense, X, Y),
    "errors over their largest": (over_largest_error, dense, X, Y),
    "share of the absolute sum": (share_of_absolute, dense, X, POSITIVE),
    "maps over the batch's largest value": (scaled_maps, segmenter, SCANS, BLURRED),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_changes_with_the_batching(name: str) -> None:
    loss, build, x, y = WRONG[name]
    (found,) = findings(compiled(build(), loss), y, x)
    assert found.severity == Severity.WARNING
    assert found.evidence["coupling"] == "batching"
    assert found.where is not None
    assert found.where.file.endswith("test_lp106_batch_coupled.py")


@pytest.mark.parametrize("name", WAYS)
def test_however_it_is_written(name: str) -> None:
    model = compiled(segmenter(), WAYS[name](dice))
    (found,) = findings(model, MAPS, SCANS)
    assert found.severity == Severity.WARNING
    assert found.where is not None
    assert found.where.expression == "ops.sum(y_true * y_pred)"


def test_the_numbers_against_numpy() -> None:
    model = compiled(segmenter(), dice)
    (found,) = findings(model, MAPS, SCANS)
    p, t = np.asarray(model.predict(SCANS, verbose=0), "float64"), MAPS.astype("float64")

    def numpy_dice(rows: Any) -> float:
        return 1.0 - (2.0 * np.sum(t[rows] * p[rows]) + 1.0) / (np.sum(t[rows]) + np.sum(p[rows]) + 1.0)

    assert found.evidence["whole"] == pytest.approx(numpy_dice(slice(None)), rel=1e-5)
    assert found.evidence["alone"] == pytest.approx(np.mean([numpy_dice([i]) for i in range(SIZE)]), rel=1e-5)
    before, after = found.counterfactual.before, found.counterfactual.after
    assert isinstance(before, float)
    assert before != pytest.approx(after, rel=1e-4)
    assert found.counterfactual.rows[-1].before == pytest.approx(0.0, abs=1e-6)


def test_in_compute_loss() -> None:
    inputs = keras.Input((5, 5, 1))
    own = computing(lambda _, y, y_pred: dice(y, y_pred))
    model = compiled(own(inputs, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(inputs)))
    (found,) = findings(model, MAPS, SCANS)
    assert found.severity == Severity.WARNING


# Meant ---------------------------------------------------------------------------------------------------------------


def in_batch_negatives(y_true: Any, y_pred: Any) -> Any:
    left, right = ops.normalize(y_pred[:, :2], axis=-1), ops.normalize(y_pred[:, 2:], axis=-1)
    scores = ops.matmul(left, ops.transpose(right)) / 0.2
    return ops.logsumexp(scores, axis=1) - ops.diagonal(scores)


def hard_triplets(y_true: Any, y_pred: Any) -> Any:
    label = ops.reshape(y_true, (-1,))
    squared = ops.sum(ops.square(y_pred[:, None, :] - y_pred[None, :, :]), axis=-1)
    distance = ops.sqrt(squared + 1e-9)
    same = ops.cast(ops.equal(label[:, None], label[None, :]), "float32")
    return ops.relu(1.0 + ops.max(same * distance, axis=1) - ops.min(distance + 1e3 * same, axis=1))


def risk_sets(y_true: Any, y_pred: Any) -> Any:
    time, risk = y_true[:, 0], y_pred[:, 0]
    at_risk = ops.cast(time[None, :] >= time[:, None], "float32")
    return ops.log(ops.sum(at_risk * ops.exp(risk)[None, :], axis=1)) - risk


def ranking(y_true: Any, y_pred: Any) -> Any:
    order = ops.sign(y_true - ops.transpose(y_true))
    return ops.mean(ops.relu(1.0 - order * (y_pred - ops.transpose(y_pred))) * ops.abs(order))


def concordance(y_true: Any, y_pred: Any) -> Any:
    t, p = y_true - ops.mean(y_true), y_pred - ops.mean(y_pred)
    shift = ops.square(ops.mean(y_true) - ops.mean(y_pred))
    return 1.0 - 2.0 * ops.mean(t * p) / (ops.mean(t * t) + ops.mean(p * p) + shift + 1e-7)


def kernel(a: Any, b: Any) -> Any:
    return ops.mean(ops.exp(-ops.sum(ops.square(a[:, None, :] - b[None, :, :]), axis=-1)))


def discrepancy(y_true: Any, y_pred: Any) -> Any:
    return kernel(y_true, y_true) + kernel(y_pred, y_pred) - 2.0 * kernel(y_true, y_pred)


def hard_examples(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.top_k(ops.reshape(ops.square(y_true - y_pred), (-1,)), 12)[0])


def entropy_and_variety(y_true: Any, y_pred: Any) -> Any:
    share = ops.mean(y_pred, axis=0)
    return keras.losses.categorical_crossentropy(y_true, y_pred) + ops.sum(share * ops.log(share + 1e-7))


MEANT: dict[str, tuple[Callable[[Any, Any], Any], Callable[[], keras.Model], np.ndarray]] = {
    "negatives from the batch": (in_batch_negatives, lambda: dense(4), ONE),
    "triplets": (hard_triplets, dense, IDS),
    "risk sets": (risk_sets, lambda: dense(1), POSITIVE[:, :1]),
    "ranking": (ranking, lambda: dense(1), ONE),
    "concordance": (concordance, lambda: dense(1), ONE),
    "distance of distributions": (discrepancy, dense, Y),
    "hard examples": (hard_examples, dense, Y),
    "variety of the classes": (entropy_and_variety, lambda: dense(3, "softmax"), np.eye(3, dtype="float32")[IDS]),
}


@pytest.mark.parametrize("name", MEANT)
def test_a_comparison_of_samples_is_a_note(name: str) -> None:
    loss, build, y = MEANT[name]
    (found,) = findings(compiled(build(), loss), y)
    assert found.severity == Severity.NOTE


def test_the_root_of_a_mean_is_a_note() -> None:
    model = compiled(dense(), lambda y_true, y_pred: ops.sqrt(ops.mean(ops.square(y_true - y_pred))))
    (found,) = findings(model, Y)
    assert found.severity == Severity.NOTE
    assert found.evidence["whole"] == pytest.approx(np.sqrt(np.mean((predicted(model) - Y) ** 2)), rel=1e-5)


def test_what_keras_defines_over_the_batch_is_a_note() -> None:
    assert [one.severity for one in findings(compiled(segmenter(), keras.losses.Dice()), MAPS, SCANS)] == [
        Severity.NOTE
    ]


# Not coupled ---------------------------------------------------------------------------------------------------------


def masked_mean(y_true: Any, y_pred: Any) -> Any:
    valid = ops.cast(y_true != 0.0, "float32")
    return ops.sum(valid * ops.square(y_true - y_pred)) / ops.sum(valid)


def marked_mean(y_true: Any, y_pred: Any) -> Any:
    valid = ops.cast(y_true != -1.0, "float32")
    return ops.sum(valid * ops.abs(y_true - y_pred)) / ops.maximum(ops.sum(valid), 1.0)


def mean_weighted_by_target(y_true: Any, y_pred: Any) -> Any:
    return ops.sum(y_true * ops.square(y_true - y_pred)) / ops.sum(y_true)


def over_positives(y_true: Any, y_pred: Any) -> Any:
    entropy = -y_true * ops.log(y_pred + 1e-7) - (1.0 - y_true) * ops.log(1.0 - y_pred + 1e-7)
    return ops.sum(entropy) / ops.maximum(ops.sum(y_true), 1.0)


def balanced(y_true: Any, y_pred: Any) -> Any:
    share = ops.mean(y_true)
    entropy = -(1.0 - share) * y_true * ops.log(y_pred + 1e-7) - share * (1.0 - y_true) * ops.log(1.0 - y_pred + 1e-7)
    return ops.mean(entropy, axis=-1)


def noisy(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred - 0.1 * keras.random.normal(ops.shape(y_pred), seed=7)), axis=-1)


UNCOUPLED: dict[str, tuple[Any, Callable[[], keras.Model], np.ndarray]] = {
    "mean": (lambda y_true, y_pred: ops.mean(ops.square(y_true - y_pred)), dense, Y),
    "per sample": (lambda y_true, y_pred: ops.mean(ops.square(y_true - y_pred), axis=-1), dense, Y),
    "sum": (lambda y_true, y_pred: ops.sum(ops.square(y_true - y_pred)), dense, Y),
    "mean over valid entries": (masked_mean, dense, GAPS),
    "mean over unmarked entries": (marked_mean, dense, MARKED),
    "weighted mean": (mean_weighted_by_target, dense, POSITIVE),
    "over the number of positives": (over_positives, lambda: dense(3, "sigmoid"), TAGS),
    "balanced classes": (balanced, lambda: dense(3, "sigmoid"), TAGS),
    "noise": (noisy, dense, Y),
    "mse": ("mse", dense, Y),
    "cross-entropy": ("sparse_categorical_crossentropy", lambda: dense(3, "softmax"), IDS),
    "subclass": (subclass(lambda y_true, y_pred: ops.mean(ops.abs(y_true - y_pred), axis=-1)), dense, Y),
}


@pytest.mark.parametrize("name", UNCOUPLED)
def test_silent_on(name: str) -> None:
    loss, build, y = UNCOUPLED[name]
    assert not findings(compiled(build(), loss), y)


def test_what_the_model_couples_is_not_the_loss() -> None:
    inputs = keras.Input((4,))
    hidden = layers.Dropout(0.3)(layers.BatchNormalization()(layers.Dense(8)(inputs)))
    assert not findings(compiled(keras.Model(inputs, layers.Dense(3)(hidden)), "mse"), Y)


def test_weights_and_masks_of_keras_are_no_coupling() -> None:
    assert not findings(compiled(linear(3), "mse"), Y, sample_weight=WEIGHTS)
    inputs = keras.Input((6, 2))
    model = keras.Model(inputs, layers.Dense(1)(layers.LSTM(4, return_sequences=True)(layers.Masking()(inputs))))
    steps = _random.normal(size=(SIZE, 6, 2)).astype("float32")
    for row in range(SIZE):
        steps[row, 1 + row % 6 :] = 0.0
    assert not findings(compiled(model, "mse"), steps[..., :1], steps)
