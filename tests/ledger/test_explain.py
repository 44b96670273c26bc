"""`lossproof.explain` against losses worked out in NumPy float64, and against what Keras then does."""

from __future__ import annotations

import json
import random
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from tests.ledger.models import by_hand, data, state_of, two_outputs

import lossproof as lp

CLOSE = {"rel": 2e-6, "abs": 1e-7}


def part(explanation: Any, name: str) -> Any:
    entry = explanation.entry
    return next(one for one in (*entry.terms, *entry.penalties) if one.name == name)


@pytest.fixture(scope="module")
def explained() -> tuple[Any, dict[str, float], float]:
    """Two weighted outputs, sample weights, two regularizers, add_loss; the parts by hand; what train_on_batch says."""
    keras.utils.set_random_seed(5)
    model = two_outputs()
    x, y, weights = data()
    wanted = by_hand(model, x, y, weights)
    model.fit(x, y, batch_size=40, epochs=1, verbose=0)  # everything is built, and the state is no fresh one
    wanted = by_hand(model, x, y, weights)
    before, generators = state_of(model), (random.getstate(), np.random.get_state()[1].tolist())
    explanation = lp.explain(model, x, y, weights)
    assert all(np.array_equal(a, b) for a, b in zip(before, state_of(model), strict=True))
    assert generators == (random.getstate(), np.random.get_state()[1].tolist())
    reported = model.train_on_batch(x, y, sample_weight=weights, return_dict=True)["loss"]
    return explanation, wanted, float(reported)


def test_every_part_is_what_it_is_by_hand(explained: Any) -> None:
    explanation, wanted, _ = explained
    for name, weight in (("kind", 0.7), ("size", 0.2)):
        term = part(explanation, name)
        assert term.raw == pytest.approx(wanted[f"{name}_raw"], **CLOSE)
        assert term.weighted == pytest.approx(wanted[name], **CLOSE)
        assert term.value == pytest.approx(wanted[name], **CLOSE)
        assert term.weight == pytest.approx(weight)
        assert term.contribution == pytest.approx(weight * wanted[name], **CLOSE)
        assert term.weights == "sample_weight"
        assert term.reduction == "sum_over_batch_size"
    assert part(explanation, "hidden kernel").value == pytest.approx(wanted["l2"], **CLOSE)
    assert part(explanation, "hidden kernel").what == "L2(l2=0.02) of kernel"
    assert part(explanation, "kind kernel").value == pytest.approx(wanted["l1"], **CLOSE)
    assert part(explanation, "added add_loss").value == pytest.approx(wanted["added"], **CLOSE)
    assert explanation.total == pytest.approx(wanted["total"], **CLOSE)


def test_it_closes_on_the_number_that_keras_reports(explained: Any) -> None:
    explanation, wanted, reported = explained
    assert explanation.reported["loss"] == pytest.approx(reported, **CLOSE)
    assert explanation.closes
    assert explanation.cause is None
    assert abs(explanation.residual) <= 1e-6 * wanted["total"]
    contributions = sum(one.contribution for one in (*explanation.entry.terms, *explanation.entry.penalties))
    assert contributions + explanation.residual == pytest.approx(reported, **CLOSE)


def test_reasons_hold_both_numbers(explained: Any) -> None:
    explanation, wanted, _ = explained
    reasons = {one.name: dict(one.numbers) for one in explanation.reasons}
    outputs = list(reasons["unweighted outputs"].values())
    assert outputs == pytest.approx(
        [0.7 * wanted["kind"] + 0.2 * wanted["size"], wanted["kind"] + wanted["size"]], rel=1e-5
    )
    without = 0.7 * wanted["kind"] + 0.2 * wanted["size"]
    assert list(reasons["regularization"].values()) == pytest.approx([wanted["total"], without], rel=1e-5)
    plain = wanted["total"] - without + 0.7 * wanted["kind_raw"] + 0.2 * wanted["size_raw"]
    assert list(reasons["sample weights"].values()) == pytest.approx([wanted["total"], plain], rel=1e-5)
    assert "training mode" not in reasons  # nothing in this model works otherwise in training


def test_as_data(explained: Any) -> None:
    explanation, wanted, _ = explained
    plain = json.loads(json.dumps(explanation.to_dict()))
    assert plain["account"]["total"] == pytest.approx(wanted["total"], **CLOSE)
    assert plain["closes"] is True
    pandas = pytest.importorskip("pandas")
    frame = explanation.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["contribution"].sum() == pytest.approx(explanation.total, rel=1e-12)


def test_without_pandas(explained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        explained[0].to_pandas()


@pytest.mark.parametrize("width", [80, 200])
def test_in_a_terminal(explained: Any, width: int) -> None:
    from rich.console import Console

    console = Console(width=width, record=True, file=__import__("io").StringIO())
    console.print(explained[0])
    text = console.export_text()
    assert max(len(line.rstrip()) for line in text.split("\n")) <= width
    for word in ("kind", "size", "L2(l2=0.02) of kernel", "add_loss", "total", "not accounted for"):
        assert word in text


def test_a_page_escapes_names() -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    loss.__name__ = "a<script>alert(1)"
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("sgd", loss)
    html = lp.explain(model, np.ones((4, 2)), np.ones((4, 1)))._repr_html_()
    assert "<script" not in html
    assert "a&lt;script&gt;alert(1)" in html


def test_class_weights_and_the_missing_ones_of_evaluate() -> None:
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y, _ = data()
    by_class = {0: 1.0, 1: 3.0, 2: 0.5}
    explanation = lp.explain(model, x, y["kind"], class_weight=by_class)
    w, b = (np.asarray(v, "float64") for v in model.get_weights())
    logits = x @ w + b
    entropy = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(x)), y["kind"]]
    weighted = float((entropy * np.array([by_class[k] for k in y["kind"]])).mean())
    (term,) = explanation.entry.terms
    assert term.weights == "class_weight"
    assert [term.raw, term.value] == pytest.approx([entropy.mean(), weighted], **CLOSE)
    assert explanation.tested.total == pytest.approx(entropy.mean(), **CLOSE)  # evaluate knows no class weights
    assert explanation.evaluated["loss"] == pytest.approx(entropy.mean(), **CLOSE)
    numbers = next(one for one in explanation.reasons if one.name == "class weights").numbers
    assert [value for _, value in numbers] == pytest.approx([weighted, entropy.mean()], rel=1e-5)


def test_a_dropped_loss_weighs_nothing() -> None:
    model = keras.Sequential([keras.Input((5,)), layers.Dense(1)])
    model.compile("sgd", ["mse", "mae"], loss_weights=[0.5, 2.0])
    x, y, _ = data()
    explanation = lp.explain(model, x, y["size"])
    w, b = (np.asarray(v, "float64") for v in model.get_weights())
    error = x @ w + b - y["size"]
    square, size = 0.5 * np.square(error).mean(), 2.0 * np.abs(error).mean()
    assert explanation.closes
    assert [one.weight for one in explanation.entry.terms] == pytest.approx([0.5, 0.0])
    assert explanation.total == pytest.approx(square, **CLOSE)
    reasons = {one.name: [value for _, value in one.numbers] for one in explanation.reasons}
    assert reasons["dropped losses"] == pytest.approx([square, square + size], rel=1e-5)
    assert "unweighted outputs" not in reasons


def test_masks() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 4, 3)).astype("float32")
    x[:, 3] = 0.0
    x[0, 1:] = 0.0
    y = rng.normal(size=(6, 4, 1)).astype("float32")
    model = keras.Sequential([keras.Input((4, 3)), layers.Masking(), layers.Dense(1)])
    model.compile("sgd", "mse")
    explanation = lp.explain(model, x, y)
    w, b = (np.asarray(v, "float64") for v in model.get_weights())
    square = np.square(x @ w + b - y)[..., 0]
    shown = np.any(x != 0.0, axis=-1)
    (term,) = explanation.entry.terms
    masked_inputs = np.square(np.where(shown[..., None], x, 0.0) @ w + b - y)[..., 0]
    assert (term.count, term.shown) == (24, int(shown.sum()))
    assert term.raw == pytest.approx(masked_inputs.mean(), **CLOSE)
    assert [term.masked, term.value] == pytest.approx([square[shown].mean()] * 2, **CLOSE)
    assert explanation.closes


def test_dropout_is_told_by_both_numbers() -> None:
    model = two_outputs(dropout=0.5)
    x, y, _ = data()
    explanation = lp.explain(model, x, y)
    assert explanation.closes
    reason = next(one for one in explanation.reasons if one.name == "training mode")
    assert "(drop)" in reason.text
    evaluated = model.evaluate(x, y, batch_size=40, verbose=0, return_dict=True)["loss"]
    assert reason.numbers[1][1] == pytest.approx(evaluated, rel=1e-5)
    assert evaluated == pytest.approx(by_hand(model, x, y)["total"], rel=1e-5)


def test_an_epoch_as_fit_runs_it() -> None:
    """Running average, last partial batch and evaluate, against a fit of the same model."""
    model = two_outputs()
    x, y, _ = data(rows=37)
    explanation = lp.explain(model, x, y, batch_size=16)
    assert explanation.entry.rows == 16
    reasons = {one.name: [value for _, value in one.numbers] for one in explanation.reasons}
    losses, rows = [], [16, 16, 5]
    twin = two_outputs()
    twin.set_weights(model.get_weights())
    for start in (0, 16, 32):
        piece = slice(start, start + 16)
        here = {key: value[piece] for key, value in y.items()}
        losses.append(by_hand(twin, x[piece], here)["total"])
        twin.train_on_batch(x[piece], here)
    average = float(np.average(losses, weights=rows))
    fitted = model.fit(x, y, batch_size=16, shuffle=False, verbose=0).history["loss"][0]
    assert fitted == pytest.approx(average, rel=1e-5)
    assert reasons["running average"] == pytest.approx([losses[-1], average], rel=1e-5)
    assert reasons["last partial batch"] == pytest.approx([average, np.mean(losses)], rel=1e-5)
    evaluated = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    assert reasons["evaluate against training"] == pytest.approx([average, evaluated], rel=1e-5)


class Own(keras.Model):
    """Adds a third of a loss object, twice the penalties, and something of its own."""

    rest = 0.25

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = 0.3 * keras.losses.MeanSquaredError()(y, y_pred) + 2.0 * sum(self.losses)
        return loss + self.rest


@pytest.mark.parametrize("rest", [0.0, 0.25])
def test_a_compute_loss_of_the_users(rest: float) -> None:
    inputs = keras.Input((5,))
    model = Own(inputs, layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1))(inputs))
    model.rest = rest
    model.compile("sgd")
    x, y, _ = data()
    explanation = lp.explain(model, x, y["size"])
    w, b = (np.asarray(v, "float64") for v in model.get_weights())
    mse, l2 = np.square(x @ w + b - y["size"]).mean(), 0.1 * np.square(w).sum()
    (term,), (penalty,) = explanation.entry.terms, explanation.entry.penalties
    assert [term.weight, penalty.weight] == pytest.approx([0.3, 2.0], rel=1e-5)
    assert [term.contribution, penalty.contribution] == pytest.approx([0.3 * mse, 2.0 * l2], rel=1e-5)
    assert explanation.closes is (rest == 0.0)
    if rest:
        assert explanation.residual == pytest.approx(0.25, rel=1e-5)
        assert "Own.compute_loss" in explanation.cause


class Batches(keras.utils.PyDataset):
    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self.arrays = x, y

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        piece = slice(16 * index, 16 * index + 16)
        return self.arrays[0][piece], self.arrays[1][piece]


def test_forms_of_data() -> None:
    x, y, _ = data(rows=32)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    w, b = (np.asarray(v, "float64") for v in model.get_weights())
    wanted = np.square(x[:16] @ w + b - y["size"][:16]).mean()
    forms = [
        (x[:16], y["size"][:16]),
        (Batches(x, y["size"]), None),
        (((x[16 * k : 16 * k + 16], y["size"][16 * k : 16 * k + 16]) for k in range(2)), None),
    ]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        forms.append((tf.data.Dataset.from_tensor_slices((x, y["size"])).batch(16), None))
    if keras.backend.backend() == "torch":
        import torch

        pairs = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y["size"]))
        forms.append((torch.utils.data.DataLoader(pairs, batch_size=16), None))
    for given, target in forms:
        explanation = lp.explain(model, given, target)
        assert explanation.total == pytest.approx(wanted, **CLOSE)
        assert explanation.closes


def test_what_is_wrong_is_said() -> None:
    model = keras.Sequential([keras.Input((5,)), layers.Dense(1)])
    with pytest.raises(TypeError, match=r"expected a keras\.Model, found str"):
        lp.explain("LP101", np.ones((2, 5)))
    with pytest.raises(ValueError, match="not compiled"):
        lp.explain(model, np.ones((2, 5)), np.ones((2, 1)))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no batch left"):
        lp.explain(model, iter(()))
    with pytest.raises(TypeError, match="batch_size"):
        lp.explain(model, np.ones((2, 5)), np.ones((2, 1)), batch_size=0)
    with pytest.raises(ValueError, match="no rows"):
        lp.explain(model, np.ones((0, 5)), np.ones((0, 1)))


def spread(size: Any) -> Any:
    return keras.ops.mean(keras.ops.square(size), axis=-1)


def test_a_trainer() -> None:
    inputs = keras.Input((5,))
    model = keras.Model(
        inputs, {"size": layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1), name="size")(inputs)}
    )
    trainer = lp.Trainer(
        model, lp.Objective([lp.Term("mae", output="size"), lp.Term(spread, size=lp.output("size"), weight=0.25)])
    )
    trainer.compile("sgd")
    x, y, _ = data()
    explanation = lp.explain(trainer, x, {"size": y["size"]})
    w, b = (np.asarray(keras.ops.convert_to_numpy(v), "float64") for v in model.trainable_variables)
    out = x @ w + b
    values = {one.name: (one.value, one.weight) for one in explanation.entry.terms}
    assert values["mae"] == pytest.approx((np.abs(out - y["size"]).mean(), 1.0), rel=1e-5)
    assert values["spread"] == pytest.approx((np.square(out).mean(), 0.25), rel=1e-5)
    assert explanation.entry.penalties[0].contribution == pytest.approx(0.1 * np.square(w).sum(), rel=1e-5)
    assert explanation.closes


class Stepping(keras.Model):
    """A `train_step` of its own, on half of what Keras would minimise."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 0.5 * super().compute_loss(x, y, y_pred, sample_weight, training)

    def train_step(self, *arguments: Any) -> Any:
        return super().train_step(*arguments)


def test_a_train_step_of_the_users() -> None:
    inputs = keras.Input((5,))
    model = Stepping(inputs, layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1))(inputs))
    model.compile("sgd", "mse")
    x, y, _ = data()
    before = model.get_weights()
    explanation = lp.explain(model, x, y["size"])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    w, b = (np.asarray(v, "float64") for v in before)
    (term,), (penalty,) = explanation.entry.terms, explanation.entry.penalties
    assert term.contribution == pytest.approx(0.5 * np.square(x @ w + b - y["size"]).mean(), rel=1e-5)
    assert penalty.contribution == pytest.approx(0.05 * np.square(w).sum(), rel=1e-5)
    assert explanation.closes
