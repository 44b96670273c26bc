"""LP407 of classes on another axis and of a blank that is a class, against NumPy in float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof

SIZE = 32
X = np.random.default_rng(13).normal(size=(SIZE, 3)).astype("float32")


def found(net: Any, loss: Any, y: Any) -> list[Any]:
    net.compile(optimizer="sgd", loss=loss)
    report = lossproof.check(net, X, y, select=["LP407"])
    assert not report.crashed, report.crashed
    return list(report.findings)


# The blank ----------------------------------------------------------------------------------------------------------

WORDS = np.random.default_rng(6).integers(0, 4, size=(SIZE, 3)).astype("int32")
"""Letters 0 to 3."""
PADDED = np.where(np.arange(3) < np.random.default_rng(7).integers(1, 4, size=(SIZE, 1)), WORDS + 1, 0).astype("int32")
LEFT = np.where(np.arange(3) < np.random.default_rng(7).integers(0, 3, size=(SIZE, 1)), 0, WORDS % 3 + 1).astype(
    "int32"
)


def reader(steps: int = 10, classes: int = 5) -> Any:
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((3,)), layers.Dense(steps * classes), layers.Reshape((steps, classes))])


def paths(logits: np.ndarray, word: np.ndarray, blank: int) -> float:
    """Minus the logarithm of the probability of a word, by the recursion of Graves et al. 2006, eq. 6 and 7."""
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    states = [blank, *(one for letter in word for one in (int(letter), blank))]
    alpha = np.zeros(len(states))
    alpha[:2] = p[0, states[:2]]
    for row in p[1:]:
        before = alpha.copy()
        for i, state in enumerate(states):
            skip = before[i - 2] if i > 1 and state not in (blank, states[i - 2]) else 0.0
            alpha[i] = (before[i] + (before[i - 1] if i else 0.0) + skip) * row[state]
    return -float(np.log(alpha[-2:].sum()))


def test_the_first_letter_taken_for_the_blank() -> None:
    net = reader()
    (finding,) = found(net, keras.losses.CTC(), WORDS)
    p = np.asarray(net.predict(X, verbose=0), "float64")
    meant = np.mean([paths(row, word, blank=4) for row, word in zip(p, WORDS, strict=True)])
    assert finding.counterfactual.after == pytest.approx(meant, rel=1e-4)
    (row,) = finding.counterfactual.rows
    assert row.before == int(((WORDS == 0).any(axis=1) & (WORDS[:, -1] != 0)).sum())


def own_ctc(y_true: Any, y_pred: Any) -> Any:
    words, steps = (ops.full((ops.shape(y_pred)[0],), n, dtype="int32") for n in (3, 10))
    return ops.ctc_loss(ops.cast(y_true, "int32"), y_pred, words, steps, mask_index=4)


READ = {
    "letters from 1": (keras.losses.CTC(), WORDS + 1, reader()),
    "short words": (keras.losses.CTC(), PADDED, reader()),
    "an output too many": (keras.losses.CTC(), PADDED, reader(classes=6)),
    "filled up on the left": (keras.losses.CTC(), LEFT, reader()),
    "the last class for the blank": (own_ctc, WORDS, reader()),
    "a class for each step": ("sparse_categorical_crossentropy", WORDS, reader(3)),
}


@pytest.mark.parametrize("name", READ)
def test_a_blank_that_fits(name: str) -> None:
    loss, y, net = READ[name]
    assert not found(net, loss, y)


# The axis of the classes --------------------------------------------------------------------------------------------

PICTURES = np.random.default_rng(8).integers(0, 3, size=(SIZE, 5, 6))
CLASSES_FIRST = np.moveaxis(np.eye(3, dtype="float32")[PICTURES], -1, 1)
"""(SIZE, 3, 5, 6)."""


def segmenter(activation: Any = "softmax", shape: tuple[int, ...] = (3, 5, 6)) -> Any:
    keras.utils.set_random_seed(2)
    dense = layers.Dense(int(np.prod(shape)))
    return keras.Sequential([keras.Input((3,)), dense, layers.Reshape(shape), layers.Activation(activation)])


def of_classes_last(y_true: Any, y_pred: Any) -> Any:
    return -ops.sum(y_true * ops.log_softmax(y_pred, axis=-1), axis=-1)


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("softmax", "categorical_crossentropy"),
        (None, keras.losses.CategoricalCrossentropy(from_logits=True)),
        (None, of_classes_last),
    ],
    ids=["probabilities", "logits", "own"],
)
def test_classes_first(activation: Any, loss: Any) -> None:
    (finding,) = found(segmenter(activation), loss, CLASSES_FIRST)
    assert finding.evidence["classes along axis"] == 1
    if activation == "softmax":
        clipped = np.clip(CLASSES_FIRST.astype("float64"), 1e-6, 1.0 - 1e-6)
        logs = np.log(clipped / clipped.sum(axis=-1, keepdims=True))
        assert finding.counterfactual.before == pytest.approx(-(CLASSES_FIRST * logs).sum(axis=-1).mean(), rel=0.05)
    assert finding.counterfactual.after == pytest.approx(0.0, abs=1e-4)
    assert ("check the softmax" in finding.explanation) == (activation == "softmax")


def along_steps(y_true: Any, y_pred: Any) -> Any:
    return -ops.sum(y_true * ops.log_softmax(y_pred, axis=1), axis=1)


ONSETS = np.swapaxes(np.eye(6, dtype="float32")[np.random.default_rng(9).integers(0, 6, size=(SIZE, 4))], 1, 2)
"""(SIZE, 6, 4): each of four events happens at one of six steps."""
MATCHES = np.stack([np.eye(6, dtype="float32")[np.random.default_rng(i).permutation(6)[:4]].T for i in range(SIZE)])
"""(SIZE, 6, 4): each of four things found by another one of six queries; two of them find nothing."""
ALONG = {
    "the axis of the classes": (
        keras.layers.Softmax(axis=1),
        keras.losses.CategoricalCrossentropy(axis=1),
        CLASSES_FIRST,
    ),
    "one class or not": ("sigmoid", "binary_crossentropy", CLASSES_FIRST),
    "a regression": (None, "mse", CLASSES_FIRST),
    "classes last": ("softmax", "categorical_crossentropy", np.moveaxis(CLASSES_FIRST, 1, -1)),
    "the step of each event": (None, along_steps, ONSETS),
    "events, each step alone": ("sigmoid", "binary_crossentropy", ONSETS),
    "queries that may find nothing": (None, of_classes_last, MATCHES),
    "orders": (
        "softmax",
        "categorical_crossentropy",
        np.stack([np.eye(6)[np.roll(np.arange(6), i)] for i in range(SIZE)]),
    ),
    "angles between rows": (None, "cosine_similarity", CLASSES_FIRST),
    "shares of a whole": ("softmax", "kl_divergence", CLASSES_FIRST),
}


@pytest.mark.parametrize("name", ALONG)
def test_the_axis_that_is_meant(name: str) -> None:
    activation, loss, y = ALONG[name]
    assert not found(segmenter(activation, y.shape[1:]), loss, y.astype("float32"))
