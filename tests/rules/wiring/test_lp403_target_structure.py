"""LP403: what each output's loss received, against the arrays that were made for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from .conftest import ROWS, Caught, TwoHeads, functional

BOTH = {"loss": {"price": "mse", "age": "mae"}}


class Batches(keras.utils.PyDataset):
    """Two batches of the arrays; `y` is nested as it was given."""

    def __init__(self, x: np.ndarray, y: Any) -> None:
        super().__init__()
        self.data = x, y

    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> Any:
        rows = slice(i * 16, i * 16 + 16)
        x, y = self.data
        return x[rows], type(y)(array[rows] for array in y)


def generator(x: np.ndarray, y: Any) -> Iterator[Any]:
    """The same for ever."""
    while True:
        for i in (0, 16):
            yield x[i : i + 16], type(y)(array[i : i + 16] for array in y)


@pytest.mark.parametrize("make", [lambda: functional("dict"), lambda: TwoHeads("dict")], ids=["functional", "subclass"])
@pytest.mark.parametrize("nest", [list, tuple])
def test_a_list_for_a_dict_that_is_not_declared_in_sorted_order(
    caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray, make: Any, nest: type
) -> None:
    (finding,) = caught("LP403", make(), x, nest([price, age]), BOTH, batch_size=ROWS)
    assert finding.title == "targets go to the wrong outputs"
    assert "'price' receives array 2" in finding.explanation
    rows = {row.label: (row.before, row.after) for row in finding.counterfactual.rows}
    assert rows["mean target of 'price'"] == pytest.approx((age.mean(), price.mean()), abs=1e-5)
    assert rows["mean target of 'age'"] == pytest.approx((price.mean(), age.mean()), abs=1e-5)
    assert finding.counterfactual.before != pytest.approx(finding.counterfactual.after)
    assert "explains_error" not in finding.evidence


def test_the_losses_before_and_after(caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray) -> None:
    model = functional("dict")
    predicted = {key: np.asarray(value, "float64") for key, value in model.predict(x, verbose=0).items()}
    (finding,) = caught("LP403", model, x, [price, age], BOTH, batch_size=ROWS)
    rows = {row.label: (row.before, row.after) for row in finding.counterfactual.rows}
    squares = [np.mean((predicted["price"] - target) ** 2) for target in (age, price)]
    absolutes = [np.mean(np.abs(predicted["age"] - target)) for target in (price, age)]
    assert rows["loss of 'price'"] == pytest.approx(tuple(squares), rel=1e-4)
    assert rows["loss of 'age'"] == pytest.approx(tuple(absolutes), rel=1e-4)
    assert finding.counterfactual.before == pytest.approx(squares[0] + absolutes[0], rel=1e-4)
    assert finding.counterfactual.after == pytest.approx(squares[1] + absolutes[1], rel=1e-4)


@pytest.mark.parametrize("feed", [Batches, generator], ids=["pydataset", "generator"])
def test_a_tuple_from_an_iterable(caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray, feed: Any) -> None:
    def fit(form: str, y: Any) -> Any:
        return caught(
            "LP403", functional(form), feed(x, y), None, BOTH, batch_size=None, steps_per_epoch=2, shuffle=False
        )

    assert len(fit("dict", (price, age))) == 1
    assert not fit("sorted", (age, price))


@pytest.mark.backend("tensorflow")
def test_a_tuple_from_tf_data(caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray) -> None:
    import tensorflow as tf

    def fit(form: str, y: Any) -> Any:
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
        return caught("LP403", functional(form), data, None, BOTH, batch_size=None)

    assert len(fit("dict", (price, age))) == 1
    assert not fit("dict", {"price": price, "age": age})
    assert not fit("sorted", (age, price))


@pytest.mark.backend("torch")
def test_a_list_from_a_data_loader(caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray) -> None:
    import torch

    class Rows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return ROWS

        def __getitem__(self, i: int) -> Any:
            return x[i], (price[i], age[i])

    def fit(form: str) -> Any:
        data = torch.utils.data.DataLoader(Rows(), batch_size=16)
        return caught("LP403", functional(form), data, None, BOTH, batch_size=None)

    assert len(fit("dict")) == 1


def test_an_order_that_only_the_shapes_betray(caught: Caught, x: np.ndarray, price: np.ndarray) -> None:
    three = np.concatenate([x[:, :1], x[:, :1], x[:, :1]], axis=1)
    model = functional("list", (1, 3))
    predicted = [np.asarray(value, "float64") for value in model.predict(x, verbose=0)]
    (finding,) = caught("LP403", model, x, [three, price], {"loss": "mse"}, batch_size=ROWS)
    # Both losses stretch what they get: (32, 3) against (32, 1).
    before = np.mean((predicted[0] - three) ** 2) + np.mean((predicted[1] - price) ** 2)
    after = np.mean((predicted[0] - price) ** 2) + np.mean((predicted[1] - three) ** 2)
    assert finding.counterfactual.before == pytest.approx(before, rel=1e-4)
    assert finding.counterfactual.after == pytest.approx(after, rel=1e-4)


def test_class_numbers_and_numbers_exchanged(caught: Caught, x: np.ndarray, age: np.ndarray) -> None:
    kind = np.arange(ROWS) % 3
    told = {"loss": [keras.losses.SparseCategoricalCrossentropy(from_logits=True), "mse"]}
    (finding,) = caught("LP403", functional("list", (3, 1)), x, [age, kind], told)
    assert finding.evidence["meant"] == [1, 0]
    assert not caught("LP403", functional("list", (3, 1)), x, [kind, age], told)


@pytest.mark.parametrize(
    ("outputs", "widths", "y", "title", "change"),
    [
        ("one", (1, 1), {"price": 1}, "a dict of 1 array for 1 output", "the array of 'price' itself"),
        ("one", (1, 1), {"label": 1}, "a dict of 1 array for 1 output", "the array of 'label' itself"),
        ("one", (1, 1), [1, 1], "2 arrays of targets for 1 output", "array 1 alone"),
        ("one", (2, 1), [1, 1], "2 arrays of targets for 1 output", "the arrays side by side in one"),
        ("list", (1, 1), 1, "1 array of targets for 2 outputs", "the same array for each output"),
        ("list", (1, 2), 3, "1 array of targets for 2 outputs", "its columns given to the outputs in turn"),
        ("list", (1, 2), 1, "1 array of targets for 2 outputs", "output 'price' trained alone"),
        ("list", (1, 2), [2], "1 array of targets for 2 outputs", "output 'age' trained alone"),
        ("list", (1, 2), [1, 3, 2], "3 arrays of targets for 2 outputs", "array 2 left out"),
        ("list", (1, 1), {"price": 1}, "a dict of 1 array for 2 outputs", "output 'price' trained alone"),
        ("dict", (1, 1), {"age": 1}, "a dict of 1 array for 2 outputs", "output 'age' trained alone"),
        ("dict", (1, 2), [1, 2, 3], "3 arrays of targets for 2 outputs", "array 3 left out"),
        ("dict", (2, 1), 3, "1 array of targets for 2 outputs", "its columns given to the outputs in turn"),
    ],
)
def test_another_number_or_nesting(
    caught: Caught,
    x: np.ndarray,
    outputs: str,
    widths: tuple[int, int],
    y: Any,
    title: str,
    change: str,
) -> None:
    """`y` holds the widths of its arrays."""
    rng = np.random.default_rng(2)
    model = functional(outputs, widths)

    def array(width: int) -> np.ndarray:
        return rng.normal(size=(ROWS, width)).astype("float32")

    given: Any = array(y) if isinstance(y, int) else None
    if given is None:
        given = [array(w) for w in y] if isinstance(y, list) else {key: array(w) for key, w in y.items()}
    (finding,) = caught("LP403", model, x, given, {"loss": "mse"})
    assert finding.title == title
    assert finding.counterfactual.change == change
    assert finding.evidence["explains_error"] is True
    assert isinstance(finding.counterfactual.before, str)
    assert np.isfinite(finding.counterfactual.after)


def test_columns_given_in_turn_in_numbers(caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray) -> None:
    model = functional("dict")  # price is declared first, though Keras puts age first
    predicted = {key: np.asarray(value, "float64") for key, value in model.predict(x, verbose=0).items()}
    both = np.concatenate([price, age], axis=1)
    (finding,) = caught("LP403", model, x, both, {"loss": "mse"}, batch_size=ROWS)
    expected = np.mean((predicted["price"] - price) ** 2) + np.mean((predicted["age"] - age) ** 2)
    assert finding.counterfactual.after == pytest.approx(expected, rel=1e-4)


def test_a_dict_for_outputs_without_names(caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray) -> None:
    (finding,) = caught("LP403", TwoHeads("list"), x, {"price": price, "age": age}, {"loss": "mse"})
    assert finding.counterfactual.change == "a list in the order 'price', 'age'"
    assert "without names" in finding.fix.text


def quantiles(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


@pytest.mark.parametrize(
    ("outputs", "widths", "y", "told"),
    [
        ("one", (1, 1), "p", {"loss": "mse"}),
        ("one", (1, 1), ["p"], {"loss": "mse"}),
        ("dict1", (1, 1), "p", {"loss": "mse"}),
        ("list", (1, 1), ["p", "a"], {"loss": "mse"}),
        ("list", (1, 1), ["a", "p"], {"loss": "mse"}),  # nothing says which is which
        ("list", (1, 1), {"age": "a", "price": "p"}, {"loss": "mse"}),
        ("list", (1, 1), ["p"], {"loss": ["mse", None]}),
        ("dict", (1, 1), {"age": "a", "price": "p"}, BOTH),
        ("dict", (1, 1), {"price": "p"}, {"loss": {"price": "mse"}}),
        ("dict", (1, 1), ["p", "p"], BOTH),  # exchanged, but the same
        ("sorted", (1, 1), ["a", "p"], BOTH),
        ("dict", (1, 3), ["w", "p"], BOTH),  # in the order in which Keras takes them: the shapes say so
        ("list", (1, 3), ["p", "p"], {"loss": ["mse", quantiles]}),  # one target, three quantiles of it
        ("list", (3, 1), ["p", "w"], {"loss": [quantiles, lambda t, p: ops.mean(ops.square(t[:, :1] - p), -1)]}),
    ],
)
def test_targets_that_go_where_they_belong(
    caught: Caught,
    x: np.ndarray,
    price: np.ndarray,
    age: np.ndarray,
    outputs: str,
    widths: tuple[int, int],
    y: Any,
    told: dict[str, Any],
) -> None:
    arrays = {"p": price, "a": age, "w": np.concatenate([age, age, age], axis=1)}
    nested = keras.tree.map_structure(arrays.__getitem__, y)
    assert not caught("LP403", functional(outputs, widths), x, nested, told)


def test_an_error_of_the_loss_is_not_explained_by_the_targets(
    caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray
) -> None:
    def broken(y_true: Any, y_pred: Any) -> Any:
        raise RuntimeError("no")

    for y in ([price, age], {"price": price, "age": age}):
        assert not caught("LP403", functional("dict"), x, y, {"loss": broken})


@pytest.mark.backend("tensorflow")
def test_a_step_that_unpacks_its_own_targets(caught: Caught, x: np.ndarray, price: np.ndarray, age: np.ndarray) -> None:
    """`compute_loss` of the pair would fail, but that is not what the step does, nor why it fails.

    On the other backends Keras evaluates `compute_loss` once before the first step, and fails there.
    """

    class Own(keras.Model):
        def train_step(self, data: Any) -> Any:
            inputs, (first, _) = data
            self.compute_loss(y=first, y_pred=self(inputs, training=True))
            raise RuntimeError("later")

    inputs = keras.Input((3,))
    model = Own(inputs, keras.layers.Dense(1)(inputs))
    assert not caught("LP403", model, x, (price, age), {"loss": "mse"})
