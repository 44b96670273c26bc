"""LP201: own steps on PyTorch, which clear the gradients in many ways, or never."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lossproof.capture.watch import Watch
from lossproof.pipeline import judge

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Step(keras.Model):
    """A step in the way of Keras's guide, with something done before, and something after."""

    every = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.count = 0

    def before(self) -> None:
        pass

    def after(self) -> None:
        pass

    def train_step(self, data: Any) -> Any:
        import torch

        x, y = data
        self.before()
        loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        loss.backward()
        self.count += 1
        if self.count % self.every == 0:
            with torch.no_grad():
                self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
            self.after()
        return {"loss": loss}


class Clearing(Step):
    def before(self) -> None:
        self.zero_grad()


class ClearingAfterwards(Step):
    def after(self) -> None:
        for variable in self.trainable_weights:
            variable.value.grad = None


class Gathering(Step):
    every = 3

    def after(self) -> None:
        self.zero_grad()


class GatheringForEver(Step):
    every = 3


class Averaging(Step):
    """A poor man's momentum: what is stored fades."""

    def before(self) -> None:
        for variable in self.trainable_weights:
            if variable.value.grad is not None:
                variable.value.grad *= 0.9


class Asking(Step):
    def train_step(self, data: Any) -> Any:
        import torch

        x, y = data
        loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        weights = self.trainable_weights
        gradients = torch.autograd.grad(loss, [v.value for v in weights])
        with torch.no_grad():
            self.optimizer.apply(list(gradients), weights)
        return {"loss": loss}


def findings(kind: type[Step], loss: Any = "mse") -> tuple[list[Any], Any]:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((3,))
    model = kind(inputs, layers.Dense(1)(layers.Dropout(0.4)(inputs)))
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=loss)
    with Watch(shorten=True) as watch:
        model.fit(X, Y, batch_size=8, verbose=0)
    stored = [None if v.value.grad is None else v.value.grad.clone() for v in model.trainable_weights]
    report = judge(watch.run, select=["LP201"])
    assert not report.crashed, report.crashed
    for variable, before in zip(model.trainable_weights, stored, strict=True):
        assert (variable.value.grad is None) == (before is None)
        assert before is None or (variable.value.grad == before).all()  # the user's are left as they were
    return list(report.findings), model


@pytest.mark.backend("torch")
@pytest.mark.parametrize("kind", [Step, GatheringForEver])
def test_gradients_that_are_never_cleared(kind: type[Step]) -> None:
    (finding,), _ = findings(kind)
    first, second, third = finding.evidence["norms"]
    assert (second, third) == (pytest.approx(2 * first), pytest.approx(3 * first))
    assert finding.counterfactual.after == pytest.approx(first)
    assert finding.evidence["steps_for_an_update"] == kind.every
    assert finding.where.expression == "loss.backward()"


@pytest.mark.backend("torch")
@pytest.mark.parametrize("kind", [Clearing, ClearingAfterwards, Gathering, Averaging, Asking])
def test_gradients_that_are_cleared_or_gathered_on_purpose(kind: type[Step]) -> None:
    assert not findings(kind)[0]
