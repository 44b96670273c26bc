"""LP405 against weighted means computed in NumPy float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import lossproof

SIZE = 32
rng = np.random.default_rng(7)
X = rng.normal(size=(SIZE, 3)).astype("float32")
Y = (X[:, :1] + 0.1 * rng.normal(size=(SIZE, 1))).astype("float32")
LABELS = (X[:, 1] > 0.8).astype("int32")[:, None]
TRUST = rng.uniform(0.2, 2.0, size=SIZE).astype("float32")
BACKEND = keras.backend.backend()


class Regressor(keras.Model):
    """One dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        return self.head(inputs)


class OwnLoss(Regressor):
    """A compute_loss that weights each sample, or not."""

    def __init__(self, weighted: bool) -> None:
        super().__init__()
        self.weighted = weighted

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        error = ops.mean(ops.square(ops.cast(y, "float32") - y_pred), axis=-1)
        if self.weighted and sample_weight is not None:
            error = error * ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        return ops.mean(error)


class OwnStep(Regressor):
    """A train_step in the words of the running backend; `weighted` says whether it passes the weights on."""

    def __init__(self, weighted: str) -> None:
        super().__init__()
        self.weighted = weighted

    def _loss(self, data: Any, y_pred: Any) -> Any:
        _, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        error = ops.mean(ops.square(ops.cast(y, "float32") - y_pred), axis=-1)
        if self.weighted == "loss" and weights is not None:
            error = error * ops.reshape(ops.cast(weights, "float32"), (-1,))
        return ops.mean(error)

    def _gradients(self, data: Any, gradients: Any) -> Any:
        weights = keras.utils.unpack_x_y_sample_weight(data)[2]
        factor = ops.mean(ops.cast(weights, "float32")) if self.weighted == "gradients" else 1.0
        return [gradient * factor for gradient in gradients]


class TensorFlowStep(OwnStep):
    def train_step(self, data: Any) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = self._loss(data, self(data[0], training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(self._gradients(data, gradients), self.trainable_variables, strict=True))
        return {"loss": loss}


class TorchStep(OwnStep):
    def train_step(self, data: Any) -> Any:
        self.zero_grad()
        loss = self._loss(data, self(data[0], training=True))
        loss.backward()
        variables = list(self.trainable_variables)
        self.optimizer.apply(self._gradients(data, [variable.value.grad for variable in variables]), variables)
        return {"loss": loss}


class JaxStep(OwnStep):
    def _differentiated(self, trainable: Any, fixed: Any, data: Any) -> Any:
        y_pred, _ = self.stateless_call(trainable, fixed, data[0])
        return self._loss(data, y_pred)

    def train_step(self, state: Any, data: Any) -> Any:
        import jax

        trainable, fixed, optimizer, metrics = state
        loss, gradients = jax.value_and_grad(self._differentiated)(trainable, fixed, data)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, self._gradients(data, gradients), trainable)
        return {"loss": loss}, (trainable, fixed, optimizer, metrics)


STEP = {"tensorflow": TensorFlowStep, "torch": TorchStep, "jax": JaxStep}[BACKEND]


def found(model: Any, y: Any = Y, told: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
    model.compile(optimizer="sgd", **(told or {}))
    report = lossproof.check(model, X, y, select=["LP405"], **kwargs)
    assert not report.crashed, report.crashed
    return list(report.findings)


@pytest.mark.parametrize("make", [lambda: OwnLoss(False), lambda: STEP("")], ids=["compute_loss", "train_step"])
def test_sample_weights_that_nothing_reads(make: Any) -> None:
    model = make()
    (finding,) = found(model, sample_weight=TRUST)
    errors = (X.astype("float64") @ np.asarray(model.head.kernel, "float64") - Y)[:, 0] ** 2
    assert finding.counterfactual.before == pytest.approx(errors.mean(), rel=1e-4)
    assert finding.counterfactual.after == pytest.approx((errors * TRUST).mean(), rel=1e-4)
    assert finding.title == "sample_weight has no effect"


@pytest.mark.parametrize("make", [lambda: OwnLoss(False), lambda: STEP("")], ids=["compute_loss", "train_step"])
def test_class_weights_that_nothing_reads(make: Any) -> None:
    (finding,) = found(make(), y=LABELS, class_weight={0: 1.0, 1: 12.0})
    assert finding.title == "class_weight has no effect"
    assert (finding.evidence["lowest"], finding.evidence["highest"]) == (1.0, 12.0)


@pytest.mark.parametrize(
    "make",
    [Regressor, lambda: OwnLoss(True), lambda: STEP("loss"), lambda: STEP("gradients")],
    ids=["Keras's own", "compute_loss", "in the loss", "in the gradients"],
)
def test_weights_that_act(make: Any) -> None:
    assert not found(make(), told={"loss": "mse"}, sample_weight=TRUST)


@pytest.mark.parametrize("weights", [None, np.ones(SIZE, "float32")], ids=["none", "ones"])
def test_without_weights_nothing_is_lost(weights: Any) -> None:
    assert not found(OwnLoss(False), sample_weight=weights)


class TwoTasks(keras.Model):
    """Adds up its two losses itself, with weights of its own if there are any."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.one, self.two = layers.Dense(1), layers.Dense(1)
        self.how = how
        if how == "own weights":
            self.balance = 0.25

    def call(self, inputs: Any) -> Any:
        return [self.one(inputs), self.two(inputs)]

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        if self.how == "super":
            return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        first, second = (ops.mean(ops.square(t - p)) for t, p in zip(y, y_pred, strict=True))
        return first + second * (self.balance if self.how == "own weights" else 1.0) + 0.1


@pytest.mark.parametrize(("how", "count"), [("alone", 1), ("super", 0), ("own weights", 0)])
def test_loss_weights(how: str, count: int) -> None:
    told = {"loss": ["mse", "mse"], "loss_weights": [1.0, 0.25]}
    findings = found(TwoTasks(how), y=[Y, 2.0 * Y], told=told)
    assert len(findings) == count
    if findings:
        assert findings[0].title == "loss_weights have no effect"
        assert findings[0].counterfactual.after < findings[0].counterfactual.before


class CostlyError(keras.losses.MeanSquaredError):
    """A cost for large targets, as weights of its own, in the place of those of the samples or times them."""

    def __init__(self, keep: bool) -> None:
        super().__init__(name="costly")
        self.keep = keep

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        costs = 1.0 + ops.abs(ops.cast(y_true, "float32")[:, 0])
        if self.keep and sample_weight is not None:
            costs = costs * ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        return super().__call__(y_true, y_pred, sample_weight=costs)


def test_a_loss_class_with_weights_of_its_own() -> None:
    keras.utils.set_random_seed(3)
    net = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    net.compile(optimizer="sgd", loss=CostlyError(keep=False))
    w, b = (np.asarray(v, "float64") for v in net.get_weights())
    each = ((1.0 + np.abs(Y.astype("float64"))) * (X @ w + b - Y) ** 2).ravel()
    report = lossproof.check(net, X, Y, sample_weight=TRUST, select=["LP405"])
    assert not report.crashed, report.crashed
    (found,) = report.findings
    assert found.counterfactual.before == pytest.approx(each.mean(), rel=1e-5)
    assert found.counterfactual.after == pytest.approx((each * TRUST).mean(), rel=1e-5)
    assert found.evidence["method"] == "CostlyError.__call__"
    net.compile(optimizer="sgd", loss=CostlyError(keep=True))
    assert not lossproof.check(net, X, Y, sample_weight=TRUST, select=["LP405"]).findings
