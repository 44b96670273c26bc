"""The laboratory: re-runs a captured objective with one thing changed, and keeps each result."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.place import place_of_function
from lossproof.capture.record import Capture, Run
from lossproof.capture.userfiles import is_user_file
from lossproof.findings.finding import Place
from lossproof.lab.backends import running_backend
from lossproof.lab.backends.base import Tensor
from lossproof.lab.listen import Heard, Hearing, listening
from lossproof.lab.model import Forward, Functional
from lossproof.lab.received import Batch, NoBatch, received_batch
from lossproof.lab.step import StepOutcome, run_step
from lossproof.lab.subject import LossSubject, MetricSubject, ObjectiveSubject, Subject
from lossproof.rules.rule import NotApplicable


class Lab:
    """Experiments on one capture. Properties are computed once, when a rule first asks for them.

    A property that cannot be had raises `NotApplicable` with the reason, so that a rule need not ask first.
    """

    def __init__(self, capture: Capture, run: Run) -> None:
        self.capture = capture
        self.run = run
        self.backend = running_backend()
        self._kept: dict[tuple[Any, ...], Any] = {}

    # The capture, as tensors -------------------------------------------------------------------------------------

    @cached_property
    def model(self) -> Functional:
        """The captured model with its weights at the time."""
        if self.capture.model is None:
            raise NotApplicable("there is no model, only a loss")
        if not self.capture.model.built:
            raise NotApplicable("the model was never built")
        return Functional(self.capture.model, self.capture.weights)

    @cached_property
    def batch(self) -> Batch:
        """One batch as the step received it."""
        try:
            return received_batch(self.capture)
        except NoBatch as reason:
            raise NotApplicable(str(reason)) from reason

    @cached_property
    def _heard(self) -> tuple[Forward, Tensor, Hearing, list[float]]:
        with listening() as hearing, self.model.scope():
            forward = self.model.forward(self.batch.x)
            total = self.model.compute_loss(self.batch, forward)
            losses = [float(np.sum(self.number(loss))) for loss in forward.losses]
        return forward, total, hearing, losses

    def _hear(self) -> tuple[Forward, Tensor, Hearing, list[float]]:
        if isinstance(self.capture.error, Exception) and "heard" not in self._kept:
            # What made the script fail will mostly fail here too: say so once, in the user's own terms.
            try:
                return self._heard
            except Exception as error:
                raise NotApplicable(f"the objective cannot be evaluated: {type(error).__name__}") from error
        return self._heard

    @property
    def forward(self) -> Forward:
        """The forward pass in training mode."""
        return self._hear()[0]

    @property
    def total(self) -> float:
        """The objective on the captured batch, regularization included."""
        return self.number(self._hear()[1]).item()

    @property
    def forward_losses(self) -> list[float]:
        """Values of `model.losses` after the forward pass."""
        return self._hear()[3]

    @cached_property
    def overrides_compute_loss(self) -> bool:
        """Whether the user's model has a `compute_loss` of its own."""
        return type(self.capture.model).compute_loss is not keras.Model.compute_loss

    @cached_property
    def overrides_train_step(self) -> bool:
        """Whether the user's model has a `train_step` of its own."""
        return type(self.capture.model).train_step is not keras.Model.train_step

    # Subjects ----------------------------------------------------------------------------------------------------

    @cached_property
    def losses(self) -> tuple[LossSubject, ...]:
        """Each `keras.losses.Loss` that the objective calls, compiled or called by a `compute_loss`."""
        compiled = keras_private.flat_losses(self.capture.model) if self.capture.model is not None else []
        subjects = []
        for heard in self._hear()[2].losses:
            named = next(((name, weight) for _, loss, weight, name in compiled if loss is heard.target), (None, None))
            subjects.append(loss_subject(heard, named[0], named[1], self.batch.x))
            compiled = [one for one in compiled if one[1] is not heard.target or len(compiled) == 1]
        return tuple(subjects)

    @cached_property
    def metrics(self) -> tuple[MetricSubject, ...]:
        """Each function metric that `compile(metrics=...)` evaluates on the batch."""
        if keras_private.compile_metrics(self.capture.model) is None:
            return ()
        with listening() as hearing, self.model.scope(collect=False):
            self.capture.model.compute_metrics(self.batch.x, self.batch.y, self.forward.y_pred, self.batch.sample_weight)
        return tuple(
            MetricSubject(
                kind="metric",
                name=heard.target.name,
                function=keras_private.metric_function(heard.target),
                y_true=heard.y_true,
                y_pred=heard.y_pred,
                sample_weight=heard.sample_weight,
                metric=heard.target,
            )
            for heard in hearing.metrics
        )

    @cached_property
    def objective(self) -> ObjectiveSubject | None:
        """The user's `compute_loss`, where the model overrides it."""
        if not self.overrides_compute_loss:
            return None
        forward = self.forward

        def compute(x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Tensor:
            with self.model.scope():
                batch = Batch(x, y, sample_weight)
                return self.model.compute_loss(batch, Forward(y_pred, forward.losses))

        return ObjectiveSubject(
            kind="compute_loss",
            name=f"{type(self.capture.model).__name__}.compute_loss",
            function=self.capture.model.compute_loss,
            y_true=self.batch.y,
            y_pred=forward.y_pred,
            sample_weight=self.batch.sample_weight,
            x=self.batch.x,
            compute=compute,
        )

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """Everything that can be evaluated on targets and predictions: losses, and an overridden `compute_loss`."""
        own = (self.objective,) if self.objective is not None else ()
        return (*self.losses, *own)

    # Values ------------------------------------------------------------------------------------------------------

    def number(self, tensor: Any) -> np.ndarray:
        """A tensor's values as NumPy float64 (or its own integer type)."""
        array = np.asarray(self.backend.numpy(tensor))
        return array.astype("float64") if array.dtype.kind == "f" else array

    def value(self, subject: Subject) -> float:
        """The reduced value of a subject, with random numbers that are the same each time."""
        with self.backend.repeatable():
            return float(np.sum(self.number(subject.total())))

    def unreduced(self, subject: Subject) -> np.ndarray:
        """What the user's function returns for a subject."""
        with self.backend.repeatable():
            return self.number(subject.unreduced())

    def attempt(self, experiment: Callable[[], Any]) -> Any:
        """The result of an experiment that the user's code may refuse; None then."""
        try:
            return experiment()
        except NotApplicable:
            raise
        except Exception:  # whatever the user's code raises on inputs it was not written for
            return None

    def once(self, *key: Any, experiment: Callable[[], Any]) -> Any:
        """The result of an experiment, run the first time that its key is met."""
        if key not in self._kept:
            self._kept[key] = experiment()
        return self._kept[key]

    def run_step(self) -> StepOutcome:
        """One eager run of the user's own `train_step`; nothing is updated.

        Raises:
            NotApplicable: The step cannot be run on the captured batch.
        """
        try:
            return run_step(self.model, self.batch)
        except NotApplicable:
            raise
        except Exception as error:
            raise NotApplicable(f"train_step cannot be run again: {type(error).__name__}: {error}") from error

    def totals_with_added_losses(self, factors: tuple[float, ...]) -> list[float]:
        """See `added_losses.totals_with_added_losses`."""
        from lossproof.lab.added_losses import totals_with_added_losses

        return totals_with_added_losses(self, factors)

    # Places ------------------------------------------------------------------------------------------------------

    def place_of_method(self, name: str) -> Place | None:
        """Where a method of the user's model is defined; where the model was trained if it is Keras's own."""
        own = place_of_function(getattr(type(self.capture.model), name))
        return own if own is not None and is_user_file(own.file) else self.capture.where

    def place(self, subject: Subject) -> Place | None:
        """Where the user wrote a subject; for a built-in loss, where it was compiled."""
        own = place_of_function(subject.function) if subject.function is not None else None
        if own is not None and is_user_file(own.file):
            return own
        compiled = self.capture.compiled
        return compiled.where if compiled is not None and compiled.where is not None else self.capture.where


def loss_subject(heard: Heard, output: str | None, weight: Any, x: Any = None) -> LossSubject:
    """A loss that was heard, as a subject of experiments."""
    loss = heard.target
    function = getattr(loss, "fn", None) or loss.call
    return LossSubject(
        kind="loss",
        name=getattr(function, "__name__", None) if hasattr(loss, "fn") else type(loss).__name__,
        function=function,
        y_true=heard.y_true,
        y_pred=heard.y_pred,
        sample_weight=heard.sample_weight,
        x=x,
        output=output,
        weight=None if weight is None else float(np.array(keras.ops.convert_to_numpy(weight))),
        loss=loss,
    )
