"""LP408 against cross-entropies over the shown positions, computed in NumPy float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof

pytestmark = pytest.mark.filterwarnings(r"ignore:[\s\S]*does not support masking:UserWarning")

SIZE, STEPS, TAGS = 24, 10, 3
rng = np.random.default_rng(11)
WORDS = rng.integers(1, 20, size=(SIZE, STEPS))
WORDS[np.arange(STEPS) >= rng.integers(3, 8, size=(SIZE, 1))] = 0
LABELS = np.where(WORDS > 0, WORDS % TAGS, 0)
SHOWN = WORDS > 0


class Tagger(keras.Model):
    """Embedding, something in between, one softmax for each position."""

    def __init__(self, between: Any = None, mask: bool = True, end: Any = None) -> None:
        super().__init__()
        self.embed = layers.Embedding(20, 4, mask_zero=mask)
        self.between = between
        self.head = layers.Dense(TAGS, activation="softmax")
        self.end = end

    def call(self, inputs: Any) -> Any:
        hidden = self.embed(inputs)
        hidden = self.between(hidden) if self.between is not None else hidden
        y_pred = self.head(hidden)
        return self.end(y_pred) if self.end is not None else y_pred


class OwnObjective(Tagger):
    """Means over all positions, by itself."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        return ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred))


class Scale(layers.Layer):
    """Knows nothing of masks, or hands them on."""

    def __init__(self, supports: bool) -> None:
        super().__init__()
        self.supports_masking = supports

    def call(self, inputs: Any) -> Any:
        return 2.0 * inputs


def scalar(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(keras.losses.sparse_categorical_crossentropy(y_true, y_pred))


def own_mask(y_true: Any, y_pred: Any) -> Any:
    shown = ops.cast(y_true > 0, "float32")
    each = keras.losses.sparse_categorical_crossentropy(ops.maximum(y_true - 1, 0), y_pred)
    return ops.sum(each * shown, axis=-1) / ops.maximum(ops.sum(shown, axis=-1), 1.0)


def found(model: Any, loss: Any = "sparse_categorical_crossentropy", y: Any = LABELS, **kwargs: Any) -> list[Any]:
    model.compile(optimizer="sgd", loss=loss)
    report = lossproof.check(model, WORDS, y, select=["LP408"], **kwargs)
    assert not report.crashed, report.crashed
    return list(report.findings)


GUILTY = {
    "convolution": lambda: Tagger(layers.Conv1D(4, 3, padding="same")),
    "arithmetic": lambda: Tagger(lambda hidden: 2.0 * hidden),
    "a layer of the user's": lambda: Tagger(Scale(False)),
    "behind a recurrent layer": lambda: Tagger(
        keras.Sequential([layers.GRU(4, return_sequences=True), layers.Conv1D(4, 1)])
    ),
    "at the end": lambda: Tagger(end=lambda y_pred: y_pred * 1.0),
}


@pytest.mark.parametrize("name", GUILTY)
def test_a_mask_that_is_lost(name: str) -> None:
    model = GUILTY[name]()
    (finding,) = found(model)
    y_pred = np.asarray(ops.convert_to_numpy(model(WORDS)), "float64")
    each = -np.log(np.take_along_axis(y_pred, LABELS[..., None], axis=-1)[..., 0])
    assert finding.counterfactual.before == pytest.approx(each.mean(), rel=1e-5)
    assert finding.counterfactual.after == pytest.approx(each[SHOWN].mean(), rel=1e-5)
    assert finding.evidence["padded"] == int((~SHOWN).sum())
    (row,) = finding.counterfactual.rows
    assert row.before != pytest.approx(finding.counterfactual.before, rel=1e-5)
    assert row.after == pytest.approx(finding.counterfactual.after, rel=1e-5)


def test_the_layer_that_drops_it_is_named() -> None:
    (finding,) = found(GUILTY["convolution"]())
    assert str(finding.evidence["dropped by"]).startswith("Conv1D")
    assert str(finding.evidence["mask by"]).startswith("Embedding")


def test_a_loss_of_one_number_does_not_apply_the_mask() -> None:
    (finding,) = found(Tagger(), scalar)
    assert "does not apply it" in finding.explanation


def test_an_objective_of_the_users() -> None:
    assert len(found(OwnObjective())) == 1


HEALTHY = {
    "kept": (lambda: Tagger(), "sparse_categorical_crossentropy", LABELS, {}),
    "handed on": (lambda: Tagger(Scale(True)), "sparse_categorical_crossentropy", LABELS, {}),
    "recurrent": (
        lambda: Tagger(layers.GRU(4, return_sequences=True)),
        "sparse_categorical_crossentropy",
        LABELS,
        {},
    ),
    "no mask asked for": (
        lambda: Tagger(layers.Conv1D(4, 3, padding="same"), mask=False),
        "sparse_categorical_crossentropy",
        LABELS,
        {},
    ),
    "weights instead": (
        lambda: Tagger(layers.Conv1D(4, 3, padding="same")),
        "sparse_categorical_crossentropy",
        LABELS,
        {"sample_weight": SHOWN.astype("float32")},
    ),
    "masked by the loss": (
        lambda: Tagger(layers.Conv1D(4, 3, padding="same")),
        own_mask,
        np.where(SHOWN, WORDS % TAGS + 1, 0),
        {},
    ),
    "targets without padding": (
        lambda: Tagger(layers.Conv1D(4, 3, padding="same")),
        "sparse_categorical_crossentropy",
        rng.integers(0, TAGS, size=(SIZE, STEPS)),
        {},
    ),
    "one answer for a sentence": (
        lambda: Tagger(layers.GRU(4)),
        "sparse_categorical_crossentropy",
        LABELS[:, 0],
        {},
    ),
    "decoded from one vector": (
        lambda: Tagger(keras.Sequential([layers.GRU(4), layers.RepeatVector(STEPS)])),
        "sparse_categorical_crossentropy",
        LABELS,
        {},
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_where_the_padding_does_not_count(name: str) -> None:
    make, loss, y, kwargs = HEALTHY[name]
    assert not found(make(), loss, y, **kwargs)
