"""LP302: trainable variables of a loss, which no optimizer is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from .conftest import Watched


class Weighted(keras.losses.Loss):
    """exp(-s) * error + s: the weight is learned (Kendall et al. 2018)."""

    def __init__(self, start: float = 0.5, stop: bool = False, **kwargs: Any) -> None:
        super().__init__(name="weighted")
        self.s = keras.Variable(start, name="s", **kwargs)
        self.stop = stop

    def call(self, y_true: Any, y_pred: Any) -> Any:
        s = ops.stop_gradient(self.s) if self.stop else self.s
        return ops.exp(-s) * ops.mean(ops.square(y_true - y_pred), axis=-1) + s


def line() -> keras.Model:
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dense(1)(inputs))


def script(loss: Callable[[], Weighted], x: np.ndarray, prepare: Any = None, *callbacks: Any) -> Callable[[], Any]:
    def run() -> Weighted:
        made = loss()
        model = line()
        if prepare is not None:
            prepare(model, made)
        model.compile(optimizer="sgd", loss=made)
        model.fit(
            x, x[:, :1], batch_size=32, epochs=3, shuffle=False, verbose=0, callbacks=[one(made) for one in callbacks]
        )
        return made

    return run


def test_a_learned_weight_that_nobody_learns(watched: Watched, x: np.ndarray) -> None:
    kept: list[Any] = []

    def remember(model: Any, _: Any) -> None:
        kept.extend(model.get_weights())

    (finding,) = watched("LP302", script(lambda: Weighted(trainable=True), x, remember))
    kernel, bias = kept
    error = float(np.mean((x @ kernel + bias - x[:, :1]) ** 2))
    assert finding.evidence["variables"] == ["weighted.s"]
    assert finding.evidence["gradients"] == [pytest.approx(abs(1.0 - np.exp(-0.5) * error), rel=1e-4)]
    assert finding.counterfactual.before == pytest.approx(np.exp(-0.5) * error + 0.5, rel=1e-5)
    assert 1.0 + np.log(error) <= finding.counterfactual.after * 1.0001  # the lowest there is
    assert finding.counterfactual.after < finding.counterfactual.before
    assert finding.where is not None
    assert finding.where.scope == "Weighted.__init__"


def held_by_the_model(model: Any, loss: Weighted) -> None:
    model.loss_variables = [loss.s]


class Following(keras.callbacks.Callback):
    """Assigns it itself."""

    def __init__(self, loss: Weighted) -> None:
        super().__init__()
        self.loss = loss

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            self.loss.s.assign(0.1)


class Training(Following):
    """Trains it with an optimizer of its own."""

    def __init__(self, loss: Weighted) -> None:
        super().__init__(loss)
        self.optimizer = keras.optimizers.SGD(0.1)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.optimizer.apply([ops.convert_to_tensor(0.3)], [self.loss.s])


@pytest.mark.parametrize(
    ("loss", "prepare", "callbacks"),
    [
        (lambda: Weighted(trainable=False), None, ()),
        (lambda: Weighted(), None, ()),  # a constant in a variable says nothing of training
        (lambda: Weighted(stop=True, trainable=True), None, ()),
        (lambda: Weighted(trainable=True), held_by_the_model, ()),
        (lambda: Weighted(trainable=True), None, (Following,)),
        (lambda: Weighted(trainable=True), None, (Training,)),
    ],
)
def test_variables_that_are_trained_or_not_to_be(
    watched: Watched, x: np.ndarray, loss: Any, prepare: Any, callbacks: Any, backend: str
) -> None:
    found = watched("LP302", script(loss, x, prepare, *callbacks))
    if callbacks and backend == "jax":  # the step has frozen it, which is another finding
        assert all("no optimizer" not in one.title for one in found)
    else:
        assert not found
