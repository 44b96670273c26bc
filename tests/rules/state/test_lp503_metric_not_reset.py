"""LP503: numbers of metrics that are not reset, or that nobody updates, against means computed in NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lossproof.findings.finding import Finding, Severity

from .own_steps import ROWS, Judging, Stepping, X, Y, errors, findings, linear, norm

HALF = ROWS // 2


def trained(model: Any, told: dict[str, Any] | None = None, **arguments: Any) -> tuple[list[np.ndarray], list[Finding]]:
    """The weights at the start, and what the rule says of a `fit`."""
    start = model.get_weights()

    def script() -> None:
        model.compile(**{"optimizer": keras.optimizers.SGD(0.01), "loss": "mse", "run_eagerly": True, **(told or {})})
        model.fit(X, Y, **{"batch_size": ROWS, "verbose": 0, "epochs": 2, **arguments})

    return start, findings("LP503", script)


class MeanDistance(keras.metrics.Metric):
    """A mean of absolute errors."""

    def __init__(self) -> None:
        super().__init__(name="mean_error")
        self.total = self.add_variable((), "zeros", name="total")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(ops.sum(ops.abs(y_true - y_pred)))
        self.count.assign_add(ops.cast(ops.size(y_true), "float32"))

    def result(self) -> Any:
        return self.total / self.count


# Guilty: reset_state ------------------------------------------------------------------------------------------------


class KeepsItsCount(MeanDistance):
    def reset_state(self) -> None:
        self.total.assign(0.0)


class KeepsBoth(MeanDistance):
    def reset_state(self) -> None:
        pass


class CountsInPython(keras.metrics.Metric):
    """A sum in a variable, and its count in a Python number, which Keras's reset_state knows nothing of."""

    def __init__(self) -> None:
        super().__init__(name="mean_error")
        self.total = self.add_variable((), "zeros", name="total")
        self.seen = 0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(ops.sum(ops.abs(y_true - y_pred)))
        self.seen += int(y_true.shape[0])

    def result(self) -> Any:
        return self.total / max(self.seen, 1)


@pytest.mark.parametrize("kind", [KeepsItsCount, KeepsBoth, CountsInPython])
def test_a_reset_that_keeps_something(kind: type[keras.metrics.Metric]) -> None:
    _, (found,) = trained(linear(), {"metrics": [kind()]})
    assert (found.code, found.severity) == ("LP503", Severity.ERROR)
    assert found.title == "mean_error remembers what it saw before reset_state"
    assert found.counterfactual.before != found.counterfactual.after


def test_a_reset_that_keeps_something_in_numbers() -> None:
    """Evaluated, so that nothing is seen but two halves: the sum starts anew, and its count goes on."""
    model = linear()
    error = np.abs(errors(model.get_weights()))

    def script() -> None:
        model.compile(loss="mse", metrics=[KeepsItsCount()], run_eagerly=True)
        model.evaluate(X, Y, batch_size=ROWS, verbose=0)

    (found,) = findings("LP503", script)
    first, again = found.evidence["first"], found.evidence["again"]
    # Both are the sum over the second half, by the number of rows seen: n, and n and two halves more.
    total = float(np.sum(error[HALF:]))
    seen = total / first
    assert seen == pytest.approx(round(seen), abs=1e-2)
    assert again == pytest.approx(total / (round(seen) + ROWS), rel=1e-4)


# Guilty: never reset ------------------------------------------------------------------------------------------------


class OwnTracker(Judging):
    """A tracker that is listed, and updated in both steps."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        return self.judged(y, y_pred, loss)

    def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


class ResetsNothing(OwnTracker):
    def reset_metrics(self) -> None:
        pass


class Unlisted(OwnTracker):
    """Left out of `metrics`: on JAX its state does not even live through a step."""

    @property
    def metrics(self) -> list[Any]:
        return []


@pytest.mark.parametrize(
    "kind", [ResetsNothing, pytest.param(Unlisted, marks=pytest.mark.backend("tensorflow", "torch"))]
)
def test_a_tracker_that_goes_on(kind: type[keras.Model]) -> None:
    start, (found,) = trained(linear(kind))
    assert found.title == "loss is never reset: each epoch's number holds the epochs before it"
    assert found.evidence["listed"] is (kind is ResetsNothing)
    square = errors(start) ** 2
    first, second = np.mean(square[:HALF]), np.mean(square[HALF:])
    assert found.counterfactual.before == pytest.approx((first + second) / 2.0, rel=1e-5)
    assert found.counterfactual.after == pytest.approx(second, rel=1e-5)


# Guilty: reported, and not updated ----------------------------------------------------------------------------------


class Hiding(Stepping):
    """`metrics` hides the tracker of Keras, which Keras's test_step updates."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


@pytest.mark.parametrize("how", ["validation_data", "evaluate"])
def test_a_hidden_tracker(how: str) -> None:
    model = linear(Hiding)
    square = float(np.mean(errors(model.get_weights()) ** 2))

    def script() -> None:
        model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
        held_out = {"validation_data": (X, Y)} if how == "validation_data" else {}
        model.fit(X, Y, batch_size=ROWS, verbose=0, **held_out)
        if how == "evaluate":
            model.evaluate(X, Y, batch_size=ROWS, verbose=0)

    found = findings("LP503", script)[0]
    assert found.severity in {Severity.ERROR, Severity.WARNING}  # on JAX the update of a hidden tracker is even lost
    assert found.counterfactual.before == 0.0
    assert found.counterfactual.after == pytest.approx(square, rel=1e-5)
    assert found.evidence["reported"] == "loss"


class Halfway(Judging):
    """What is minimised is tracked as `objective`, by train_step alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tracker = keras.metrics.Mean(name="objective")

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        self.tracker.update_state(loss)
        return {metric.name: metric.result() for metric in self.metrics}

    def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
        return {metric.name: metric.result() for metric in self.metrics}


def test_an_objective_that_only_training_updates() -> None:
    start, found = trained(linear(Halfway), validation_data=(X, Y))
    (found,) = [one for one in found if one.evidence.get("reported") == "objective"]
    assert found.severity is Severity.WARNING
    assert found.counterfactual.before == 0.0
    assert found.counterfactual.after == pytest.approx(float(np.mean(errors(start) ** 2)), rel=1e-5)


# Innocent -----------------------------------------------------------------------------------------------------------


class WithGradientNorm(OwnTracker):
    """A tracker that has nothing to say in an evaluation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.norm = keras.metrics.Mean(name="gradient_norm")

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker, self.norm]

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        self.norm.update_state(norm(gradients))
        return {**self.judged(y, y_pred, loss), "gradient_norm": self.norm.result()}


def test_a_tracker_of_training_alone_is_no_alarm() -> None:
    """That the validation shows a norm of zero is said as a note, and no more."""
    _, found = trained(linear(WithGradientNorm), validation_data=(X, Y))
    assert all(one.severity is Severity.NOTE for one in found)
    assert {one.evidence["reported"] for one in found} <= {"gradient_norm"}


class Listing(Stepping):
    """Its own tracker beside those of Keras."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tracker = keras.metrics.Mean(name="own")

    @property
    def metrics(self) -> list[Any]:
        # `super().metrics` finds the tracker, too: it is an attribute.
        return super().metrics

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        self._loss_tracker.update_state(loss)
        self.tracker.update_state(ops.mean(ops.square(y_pred)))
        return {metric.name: metric.result() for metric in self.metrics}


class ByAttribute(Judging):
    """`metrics` is not overridden: Keras finds the tracker among the attributes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.error = keras.metrics.MeanAbsoluteError(name="error")

    def noted(self, y: Any, y_pred: Any, loss: Any, gradients: Any) -> dict[str, Any]:
        return self.judged(y, y_pred, loss)

    def judged(self, y: Any, y_pred: Any, loss: Any) -> dict[str, Any]:
        self._loss_tracker.update_state(loss)
        self.error.update_state(y, y_pred)
        return {"loss": self._loss_tracker.result(), "error": self.error.result()}


@pytest.mark.parametrize("kind", [OwnTracker, ByAttribute])
def test_trackers_that_both_steps_update(kind: type[keras.Model]) -> None:
    _, found = trained(linear(kind), validation_data=(X, Y), batch_size=HALF)
    assert not found


def test_a_tracker_beside_those_of_keras() -> None:
    """Keras's test_step updates the loss; the tracker of the step's own is no loss."""
    _, found = trained(linear(Listing), validation_data=(X, Y))
    assert all(one.severity is Severity.NOTE for one in found)


def test_metrics_of_keras_are_reset() -> None:
    told = {"metrics": ["mae", keras.metrics.R2Score(), keras.metrics.RootMeanSquaredError()]}
    _, found = trained(linear(), told, validation_data=(X, Y))
    assert not found


def test_a_metric_of_ones_own_is_reset() -> None:
    _, found = trained(linear(), {"metrics": [MeanDistance()]}, validation_data=(X, Y))
    assert not found


class Smoothed(OwnTracker):
    """An average over the whole training on purpose, in a plain variable, not a metric."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.smooth = self.add_weight(shape=(), initializer="zeros", trainable=False, name="smooth")


def test_a_variable_is_no_metric() -> None:
    _, found = trained(linear(Smoothed), validation_data=(X, Y))
    assert not found


def test_a_metric_that_was_trained_with_another_model() -> None:
    """What other models' metrics hold is no matter of this one's step."""
    other = linear(OwnTracker)
    other.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    other.fit(X, Y, verbose=0)
    _, found = trained(linear(OwnTracker), validation_data=(X, Y))
    assert not found


def test_a_layer_with_a_mode() -> None:
    inputs = keras.Input((3,))
    model = OwnTracker(inputs, layers.Dense(1)(layers.Dropout(0.5)(inputs)))
    _, found = trained(model, validation_data=(X, Y))
    assert not found
