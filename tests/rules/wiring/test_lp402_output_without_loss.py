"""LP402 against objectives computed in NumPy: which outputs have a loss, and what Keras makes of the others."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import lossproof

from .conftest import ROWS, Caught, TwoHeads, functional


def squares(model: Any, x: np.ndarray, y: np.ndarray, name: str) -> float:
    """The mean squared error of one head of `functional`, in float64."""
    w, b = (np.asarray(v, "float64") for v in model.get_layer("hidden").get_weights())
    head_w, head_b = (np.asarray(v, "float64") for v in model.get_layer(name).get_weights())
    return float(np.mean((np.tanh(x @ w + b) @ head_w + head_b - y) ** 2))


def checked(model: Any, x: Any, y: Any, loss: Any, **told: Any) -> list[Any]:
    """Without training: Keras warns of weights without a gradient when it trains."""
    model.compile(optimizer="sgd", loss=loss, **told)
    report = lossproof.check(model, x, y, select=["LP402"])
    assert not report.crashed, report.crashed
    return list(report.findings)


@pytest.mark.parametrize("dataset", [False, True])
def test_a_list_of_outputs_wants_an_entry_for_each(
    caught: Caught, x: np.ndarray, price: np.ndarray, dataset: bool
) -> None:
    model = functional("list")
    before = squares(model, x, price, "price")
    y = {"price": price}
    data: tuple[Any, Any] = (Batches(x, y), None) if dataset else (x, y)
    size = {} if dataset else {"batch_size": ROWS}
    kwargs = {"batch_size": None, **size} if dataset else size
    (finding,) = caught("LP402", model, *data, {"loss": {"price": "mse"}}, **kwargs)
    assert finding.evidence["without loss"] == ["age"]
    assert finding.evidence["explains_error"]
    assert finding.counterfactual.after == pytest.approx(before, rel=1e-5)
    assert finding.fix.code == "loss=['mse', None]"


class Batches(keras.utils.PyDataset):
    """All rows in one batch."""

    def __init__(self, x: Any, y: Any) -> None:
        super().__init__()
        self.data = (x, y)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        return self.data


def test_the_fix_of_a_list_runs(caught: Caught, x: np.ndarray, price: np.ndarray) -> None:
    assert not caught("LP402", functional("list"), x, [price], {"loss": ["mse", None]})


@pytest.mark.parametrize("form", ["dict", "sorted", "renamed"])
def test_a_forgotten_loss_of_a_dict(x: np.ndarray, price: np.ndarray, age: np.ndarray, form: str) -> None:
    keys = ("cost", "years") if form == "renamed" else ("price", "age")
    model = functional(form)
    (finding,) = checked(model, x, dict(zip(keys, (price, age), strict=True)), {keys[0]: "mse"})
    assert finding.evidence == {"without loss": [keys[1]], "untrained weights": 5 + 1}
    first, second = squares(model, x, price, "price"), squares(model, x, age, "age")
    assert finding.counterfactual.before == pytest.approx(first, rel=1e-5)
    assert finding.counterfactual.after == pytest.approx(first + second, rel=1e-5)


def test_a_forgotten_loss_of_a_subclassed_model(x: np.ndarray, price: np.ndarray, age: np.ndarray) -> None:
    (finding,) = checked(TwoHeads("dict"), x, {"price": price, "age": age}, {"age": "mae"})
    assert finding.evidence["without loss"] == ["price"]


@pytest.mark.parametrize(
    "told",
    [
        {"loss": {"price": "mse", "age": None}},
        {"loss": {"price": "mse", "age": "mse"}},
        {"loss": "mse"},
        {"loss": {"price": "mse"}, "metrics": {"age": ["mae"]}},
    ],
    ids=["said so", "all", "one for all", "watched"],
)
def test_outputs_left_out_on_purpose_are_no_finding(
    x: np.ndarray, price: np.ndarray, age: np.ndarray, told: dict[str, Any]
) -> None:
    assert not checked(functional("dict"), x, {"price": price, "age": age}, **told)


def test_an_output_without_targets_is_no_finding(x: np.ndarray, price: np.ndarray) -> None:
    assert not checked(functional("dict"), x, {"price": price}, {"price": "mse"})
