"""LP506 against losses computed in NumPy: what a step computes, and what Keras makes of it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossproof.findings.finding import Finding, Severity

from .own_steps import ROWS, Judging, Stepping, X, Y, errors, findings, linear

# Guilty -------------------------------------------------------------------------------------------------------------


class Returning(Stepping):
    """The loss under the name of the tracker that Keras has for it."""


class ReturningBoth(Judging):
    """The same in both steps."""


class Root(Judging):
    """Another number than the tracker's, which is updated."""

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        self.metrics[0].update_state(loss)
        return {"loss": ops.sqrt(loss)}

    def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
        self.metrics[0].update_state(loss)
        return {"loss": loss}


class Results(Stepping):
    """The results of `metrics`, of which nobody updates the loss."""

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        for metric in self.metrics:
            if metric.name != "loss":
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


def trained(model: Any, optimizer: Any = "sgd", metrics: Any = None, **arguments: Any) -> tuple[float, list[Finding]]:
    """The mean square at the start, and what the rule says of a `fit`."""
    before = float(np.mean(errors(model.get_weights()) ** 2))

    def script() -> None:
        model.compile(optimizer=optimizer, loss="mse", metrics=metrics, run_eagerly=True)
        model.fit(X, Y, **{"batch_size": ROWS, "verbose": 0, **arguments})

    return before, findings("LP506", script)


def test_a_returned_loss_is_replaced_by_zero() -> None:
    loss, (found,) = trained(linear(Returning))
    assert (found.code, found.severity) == ("LP506", Severity.ERROR)
    assert found.counterfactual.before == 0.0
    assert found.counterfactual.after == pytest.approx(loss, rel=1e-5)
    assert found.evidence["step"] == "train_step"


def test_both_steps_are_told_where_both_are_replaced() -> None:
    loss, found = trained(linear(ReturningBoth), validation_data=(X, Y))
    assert [one.evidence["step"] for one in found] == ["train_step", "test_step"]
    assert [one.counterfactual.before for one in found] == [0.0, 0.0]
    assert [one.counterfactual.after for one in found] == pytest.approx([loss, loss], rel=1e-5)


def test_another_number_than_the_trackers() -> None:
    loss, (found,) = trained(linear(Root), validation_data=(X, Y))
    assert found.counterfactual.before == pytest.approx(loss, rel=1e-5)
    assert found.counterfactual.after == pytest.approx(np.sqrt(loss), rel=1e-5)


def test_a_tracker_that_nobody_updates() -> None:
    loss, (found,) = trained(linear(Results), metrics=["mae"])
    assert found.title == "the loss is reported as 0, whatever it is"
    assert found.counterfactual.after == pytest.approx(loss, rel=1e-5)


class Scaled(Stepping):
    """As in a guide to mixed precision, with the tracker on the wrong side of the scaling."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def objective(self, x: Any, y: Any, y_pred: Any) -> Any:
        return self.optimizer.scale_loss(self.compute_loss(x, y, y_pred))

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


@pytest.mark.parametrize("scale", [2.0, 1024.0])
def test_a_scaled_loss(scale: float) -> None:
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=scale)
    loss, (found,) = trained(linear(Scaled), optimizer)
    assert found.evidence["ratio"] == pytest.approx(scale, rel=1e-5)
    assert found.counterfactual.before == pytest.approx(scale * loss, rel=1e-5)
    assert found.counterfactual.after == pytest.approx(loss, rel=1e-5)


# Innocent -----------------------------------------------------------------------------------------------------------


class Tracked(Judging):
    """As the guides write it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tracker = keras.metrics.Mean(name="loss")
        self.error = keras.metrics.MeanAbsoluteError(name="mae")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker, self.error]

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        return self.judged(y, y_pred, loss)

    def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
        self.tracker.update_state(loss)
        self.error.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


class OfTheBatch(Tracked):
    """What is returned is the loss of the batch, and the tracker holds its mean."""

    def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
        super().judged(y, y_pred, loss)
        return {"loss": loss, "mae": self.error.result()}


class OneMore(Judging):
    """Returned keys that are not those of the metrics are reported as they are."""

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        return self.judged(y, y_pred, loss)

    def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
        return {"loss": loss, "root": ops.sqrt(loss)}


class KerasTracker(Judging):
    """Updates the tracker that Keras has."""

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        return self.judged(y, y_pred, loss)

    def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
        self._loss_tracker.update_state(loss)
        return {"loss": self._loss_tracker.result()}


class Unscaled(Scaled):
    """The loss is scaled for the gradients, and reported as it is."""

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        self.tracker.update_state(self.compute_loss(None, y, y_pred))
        return {"loss": self.tracker.result()}


class WithPenalty(Tracked):
    """An objective of the step's own; its tracker holds it."""

    def objective(self, x: Any, y: Any, y_pred: Any) -> Any:
        return self.compute_loss(x, y, y_pred) + 0.1 * ops.mean(ops.square(y_pred))


@pytest.mark.parametrize("kind", [Tracked, OfTheBatch, OneMore, KerasTracker, WithPenalty])
def test_what_is_reported_is_what_is_computed(kind: type[keras.Model]) -> None:
    _, found = trained(linear(kind), validation_data=(X, Y), epochs=2, batch_size=ROWS // 2)
    assert not found


def test_a_loss_that_is_scaled_for_its_gradients_only() -> None:
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=1024.0)
    _, found = trained(linear(Unscaled), optimizer)
    assert not found


def test_a_layer_with_a_mode() -> None:
    """In training mode and in inference mode the losses differ; no report is replaced by that."""
    inputs = keras.Input((3,))
    model = Tracked(inputs, layers.Dense(1)(layers.BatchNormalization()(inputs)))

    def script() -> None:
        model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
        model.fit(X, Y, validation_data=(X, Y), batch_size=ROWS, verbose=0)

    assert not findings("LP506", script)


def test_the_two_losses_of_a_gan() -> None:
    """Neither is called `loss`, and no metric is listed under their names."""

    class Two(Stepping):
        def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
            return {"d_loss": loss, "g_loss": -loss}

    _, found = trained(linear(Two))
    assert not found
