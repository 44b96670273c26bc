"""The search for rows, and what is put first in it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossproof.capture.direct import captured_model
from lossproof.lab.gradient.reach import captured_rows, census, rows_of_data, search, unusual_rows
from lossproof.lab.lab import Lab
from lossproof.lab.minimised import minimised

ROWS = 100
RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(ROWS, 4)).astype("float32")
Y = RANDOM.normal(size=(ROWS, 3)).astype("float32")


def lab_of(loss: Any, y: np.ndarray = Y, x: np.ndarray = X, model: Any = keras.Sequential) -> Lab:
    built = model([keras.Input((4,)), layers.Dense(3)])
    built.compile(optimizer="sgd", loss=loss)
    run = captured_model(built, {"x": x, "y": y})
    return Lab(run.captures[0], run)


def logarithm(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(ops.log(y_true) - y_pred), axis=-1)


def test_the_census_counts_each_row_once() -> None:
    y = np.abs(Y) + 0.1
    y[[3, 41, 97], [0, 1, 2]] = 0.0
    taken = census(lab_of(logarithm, y))
    assert taken is not None
    assert taken.bad.tolist() == [3, 41, 97]
    assert taken.searched == ROWS


def test_a_row_that_only_the_model_shows_is_found() -> None:
    x = X.copy()
    x[58] = np.nan  # its targets are as good as any
    lab = lab_of("mse", x=x)
    taken = census(lab)
    assert taken is not None
    assert taken.bad.size == 0
    found = search(lab)
    assert found is not None
    assert 58 in found.rows


def test_nothing_is_found_where_all_is_well() -> None:
    assert search(lab_of("mse")) is None


def test_the_captured_batch_is_told_by_its_rows() -> None:
    lab = lab_of("mse")
    rows = captured_rows(lab)
    assert rows is not None
    np.testing.assert_array_equal(lab.number(lab.batch.x), X[rows])
    np.testing.assert_array_equal(lab.number(rows_of_data(lab, rows[:5]).y), Y[rows[:5]])


def test_unusual_rows() -> None:
    x, twin, y = X.copy(), X[::-1].copy(), Y.copy()
    x[10] = 0.0
    twin[20] = x[20]
    y[30, 1] = np.inf
    y[40] = 7.0
    assert unusual_rows({"x": [x, twin], "y": y}, ROWS).tolist() == [10, 20, 30, 40]
    assert unusual_rows({"x": X, "y": np.ones((ROWS, 3), "float32")}, ROWS).tolist() == []  # what all have is usual
    assert unusual_rows({"x": X, "y": Y[:, :1]}, ROWS).tolist() == []


class Reporting(keras.Sequential):
    """Evaluates one loss to minimise it, and another one to report it."""

    squared = keras.losses.MeanSquaredError(name="squared")
    absolute = keras.losses.MeanAbsoluteError(name="absolute")

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        self.absolute(y, y_pred)
        return 2.0 * self.squared(y, y_pred)


def test_only_what_the_total_is_made_of_is_minimised() -> None:
    lab = lab_of(None, model=Reporting)
    assert [one.kind for one in minimised(lab)] == ["loss", "compute_loss"]
    assert [one.name for one in lab.losses] == ["mean_squared_error", "mean_absolute_error"][::-1]
    assert minimised(lab)[0] is lab.losses[1]


@pytest.mark.parametrize(("weight", "counts"), [(0.0, 1), (0.5, 2)])
def test_a_weight_of_zero_takes_a_loss_out(weight: float, counts: int) -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, {"a": layers.Dense(3, name="a")(inputs), "b": layers.Dense(3, name="b")(inputs)})
    model.compile(optimizer="sgd", loss={"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": weight})
    run = captured_model(model, {"x": X, "y": {"a": Y, "b": Y}})
    assert len(minimised(Lab(run.captures[0], run))) == counts
