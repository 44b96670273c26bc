"""The laboratory: re-runs a captured objective with one thing changed, and keeps each result."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import count_rows
from lossproof.capture.place import place_of_function, place_of_traceback, shown_path
from lossproof.capture.record import Capture, LossCall, Run, Training
from lossproof.capture.userfiles import is_user_file, is_user_function, split_cell
from lossproof.findings.finding import Place
from lossproof.lab.backends import running_backend
from lossproof.lab.backends.base import Tensor
from lossproof.lab.evaluation import Evaluation, evaluate
from lossproof.lab.listen import Heard, listening
from lossproof.lab.localize.events import Event, Trace
from lossproof.lab.localize.queries import labels_for
from lossproof.lab.localize.recorder import trace
from lossproof.lab.model import Forward, Functional
from lossproof.lab.received import Batch, NoBatch, received_batch, to_tensors
from lossproof.lab.replace import replaced
from lossproof.lab.step import StepOutcome, run_step
from lossproof.lab.subject import (
    LossSubject,
    MetricSubject,
    ObjectiveSubject,
    StatefulMetricSubject,
    StepSubject,
    Subject,
)
from lossproof.rules.rule import NotApplicable

if TYPE_CHECKING:
    from lossproof.capture.values import Change, Slot
    from lossproof.lab.added_losses import Added
    from lossproof.lab.alignment import Alignment, Pairing
    from lossproof.lab.blind import Blind
    from lossproof.lab.compiled import CompiledObjective
    from lossproof.lab.coupling import Coupling
    from lossproof.lab.dead_weights import Dead
    from lossproof.lab.direction import Direction
    from lossproof.lab.epochs import Averaged
    from lossproof.lab.following import Following
    from lossproof.lab.labels import FirstOnly, Recoded
    from lossproof.lab.masks import Ignored
    from lossproof.lab.pairs import AllPairs
    from lossproof.lab.passing import Passing
    from lossproof.lab.persistence import ChangedByFile, Unloadable
    from lossproof.lab.randomness import FrozenRandomness
    from lossproof.lab.reading import Misread
    from lossproof.lab.replicas import ReplicaScaling
    from lossproof.lab.reporting import Reported, Scale
    from lossproof.lab.retracing import Retracing
    from lossproof.lab.saturation import Saturated
    from lossproof.lab.slopes import Comparison
    from lossproof.lab.spreading import Spreading
    from lossproof.lab.staging import Divergence
    from lossproof.lab.stepping import Foreign, Step
    from lossproof.lab.symbolic import Replayed
    from lossproof.lab.traceability import Untraceable
    from lossproof.lab.training_flag import Inactive
    from lossproof.lab.trouble import Trouble
    from lossproof.lab.unlossed import Completed, Untrained
    from lossproof.lab.weights_lost import Lost
    from lossproof.lab.wrong_axis import WrongAxis


class Lab:
    """Experiments on one capture. Properties are computed once, when a rule first asks for them.

    A property that cannot be had raises `NotApplicable` with the reason, so that a rule need not ask first.
    """

    def __init__(self, capture: Capture, run: Run) -> None:
        self.capture = capture
        self.run = run
        self.backend = running_backend()
        self._kept: dict[tuple[Any, ...], Any] = {}
        self.changed_by_objective: list[Change] = []
        """The Python values that one eager evaluation of the objective changes; known once it was evaluated."""

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

    @property
    def batch_size(self) -> int:
        """Rows of the captured batch, as its inputs have them."""
        return int(count_rows(self.batch.x) or 1)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The objective, evaluated once on the captured batch."""
        try:
            with self.capture.changes.moved_inside() as self.changed_by_objective:
                return evaluate(self.model, self.batch, self.overrides_train_step, self.capture.training)
        except NotApplicable:
            raise
        except Exception as error:
            raise NotApplicable(f"the objective cannot be evaluated: {type(error).__name__}: {_line(error)}") from error

    @property
    def forward(self) -> Forward:
        """The forward pass in training mode."""
        if self.evaluation.forward is None:
            raise NotApplicable("train_step calls the model on something else than the inputs of its batch")
        return self.evaluation.forward

    @property
    def total(self) -> float:
        """The objective on the captured batch, regularization included."""
        return self.evaluation.total

    @property
    def forward_losses(self) -> tuple[float, ...]:
        """Values of `model.losses` after the forward pass."""
        return self.evaluation.added

    @cached_property
    def overrides_compute_loss(self) -> bool:
        """Whether the user's model has a `compute_loss` of its own."""
        return self.capture.model is not None and type(self.capture.model).compute_loss is not keras.Model.compute_loss

    @cached_property
    def overrides_train_step(self) -> bool:
        """Whether the user's model has a `train_step` of its own."""
        return self.capture.model is not None and type(self.capture.model).train_step is not keras.Model.train_step

    @cached_property
    def compiled(self) -> CompiledObjective:
        """The arguments of `compile` and the targets, to be changed one at a time."""
        from lossproof.lab.compiled import CompiledObjective

        compiled = CompiledObjective(self)
        compiled.require_loss()
        return compiled

    def overrides(self, name: str) -> bool:
        """Whether the user's model has a method or property of its own of this name."""
        model = self.capture.model
        return model is not None and getattr(type(model), name, None) is not getattr(keras.Model, name, None)

    # Subjects ----------------------------------------------------------------------------------------------------

    @cached_property
    def losses(self) -> tuple[LossSubject, ...]:
        """Each `keras.losses.Loss` that the objective calls, compiled or called by a `compute_loss`."""
        if self.capture.model is None:
            return (loose_subject(self.capture.loss_call),) if self.capture.loss_call is not None else ()
        compiled = keras_private.flat_losses(self.capture.model)
        subjects = []
        for heard in self.evaluation.losses:
            # The same loss object may stand for several outputs: each call takes the next of its entries.
            entry = next((one for one in compiled if one[1] is heard.target), None)
            if entry is not None:
                compiled.remove(entry)
            _, _, weight, name = entry if entry is not None else (None, None, None, None)
            subjects.append(loss_subject(heard, name, weight))
        return tuple(subjects)

    @cached_property
    def metrics(self) -> tuple[Subject, ...]:
        """Each metric of the user's that `compile(metrics=...)` evaluates on the batch: functions and own classes."""
        compiled = keras_private.compile_metrics(self.capture.model)
        if compiled is None:
            return ()
        data = (self.batch.x, self.batch.y, self.forward.y_pred, self.batch.sample_weight)
        own = [one for one in compiled.metrics if is_user_function(type(one).update_state)]
        with listening(metrics=own) as hearing, self.undisturbed(), self.model.scope(collect=False):
            self.attempt(lambda: self.capture.model.compute_metrics(*data))
        return tuple(metric_subject(heard) for heard in hearing.metrics)

    @cached_property
    def objective(self) -> ObjectiveSubject | None:
        """The user's `compute_loss`, where the model overrides it (and a step of the user's does not replace it)."""
        if self.capture.model is None or not self.overrides_compute_loss or self.overrides_train_step:
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
    def step(self) -> StepSubject | None:
        """The user's `train_step`, where the model overrides it."""
        if self.capture.model is None or not self.overrides_train_step:
            return None
        return StepSubject(
            kind="train_step",
            name=f"{type(self.capture.model).__name__}.train_step",
            function=self.capture.model.train_step,
            y_true=self.batch.y,
            y_pred=None,
            sample_weight=self.batch.sample_weight,
            x=self.batch.x,
            model=self.model,
        )

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """Everything that can be evaluated: losses, an overridden `compute_loss`, a custom `train_step`."""
        return (*self.losses, *(one for one in (self.objective, self.step) if one is not None))

    # Values ------------------------------------------------------------------------------------------------------

    def number(self, tensor: Any) -> np.ndarray:
        """A tensor's values as NumPy float64 (or its own integer type)."""
        array = np.asarray(self.backend.numpy(tensor))
        return array.astype("float64") if array.dtype.kind == "f" else array

    def value(self, subject: Subject) -> float:
        """The reduced value of a subject, with random numbers that are the same each time."""
        with self.undisturbed():
            return float(np.sum(self.number(subject.total())))

    def unreduced(self, subject: Subject) -> np.ndarray:
        """What the user's function returns for a subject."""
        with self.undisturbed():
            return self.number(subject.unreduced())

    def trace(self, subject: Subject) -> Trace:
        """Every expression that the user's code of a subject evaluates, with its value."""
        with self.undisturbed():
            if isinstance(subject, StepSubject):
                return self._trace_of_step(subject)
            function, arguments = subject.traceable()
            if isinstance(subject, ObjectiveSubject):
                with self.model.scope():
                    return trace(function, *arguments)
            return trace(function, *arguments)

    def _trace_of_step(self, subject: StepSubject) -> Trace:
        outer: list[Trace] = []
        inner: list[Trace] = []

        def into(traces: list[Trace]) -> Callable[..., Any]:
            def run(function: Any, *arguments: Any, **named: Any) -> Any:
                traces.append(trace(functools.partial(function, **named) if named else function, *arguments))
                error = traces[-1].error
                if error is not None:
                    raise error
                return traces[-1].result

            return run

        with contextlib.ExitStack() as stack:
            for owner, name, make in self.backend.differentiation(lambda _: None, into(inner)):
                stack.enter_context(replaced(owner, name, make))
            with contextlib.suppress(Exception):  # it is in the trace
                run_step(self.model, subject.batch, functools.partial(into(outer), subject.function))
        if not outer:
            return Trace(())
        return replace(outer[0], events=(*(event for one in inner for event in one.events), *outer[0].events))

    def undisturbed(self) -> AbstractContextManager[None]:
        """See `blind.quiet`."""
        from lossproof.lab.blind import quiet

        return quiet(self)

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

    def added_by_user(self, copies: int) -> tuple[Added, ...]:
        """See `added_losses.added_by_user`."""
        from lossproof.lab.added_losses import added_by_user

        return added_by_user(self, copies)

    # Connection to the predictions ------------------------------------------------------------------------------

    def minimised(self) -> tuple[Subject, ...]:
        """The subjects that the total is made of; see `minimised.minimised`."""
        from lossproof.lab.minimised import minimised

        return minimised(self)

    def blind(self, subject: Subject) -> Blind | None:
        """See `connection.blind`."""
        from lossproof.lab.connection import blind

        return blind(self, subject)

    def blind_to_weights(self) -> Blind | None:
        """See `weight_connection.blind_to_weights`."""
        from lossproof.lab.weight_connection import blind_to_weights

        return blind_to_weights(self)

    def dead_weights(self) -> Dead | None:
        """See `dead_weights.dead_weights`."""
        from lossproof.lab.dead_weights import dead_weights

        _ = self.evaluation  # where the objective cannot be evaluated, this says so
        try:
            return dead_weights(self)
        except NotApplicable:
            raise
        except Exception as error:
            raise NotApplicable(f"the gradient cannot be computed: {type(error).__name__}: {_line(error)}") from error

    def vanishing(self, subject: Subject) -> Event | None:
        """See `connection.vanishing`."""
        from lossproof.lab.connection import vanishing

        return vanishing(self, subject)

    # Direction ---------------------------------------------------------------------------------------------------

    def direction(self, subject: Subject) -> Direction | None:
        """See `direction.direction`."""
        from lossproof.lab.direction import direction

        return direction(self, subject)

    def saturated(self, subject: Subject) -> Saturated | None:
        """See `saturation.saturated`."""
        from lossproof.lab.saturation import saturated

        return saturated(self, subject)

    def pursued(self) -> tuple[Subject, ...]:
        """The subjects that training makes as small as it can; see `minimised.pursued`."""
        from lossproof.lab.minimised import pursued

        return pursued(self)

    def place_of_result(self, subject: Subject) -> Place | None:
        """The expression whose value the user's function returns; where the subject stands, if none can be seen."""
        found = self.attempt(lambda: self.trace(subject))
        own = [event for event in found.events if event.value is found.result and event.depth == 0] if found else []
        computed = [event for event in own if event.kind not in ("name", "attribute")]
        return self.place_of_event((computed or own)[-1]) if own else self.place(subject)

    # Outputs without a loss -------------------------------------------------------------------------------------

    def completed_losses(self) -> Completed | None:
        """See `unlossed.completed`."""
        from lossproof.lab.unlossed import completed

        return completed(self)

    def untrained_outputs(self) -> Untrained | None:
        """See `unlossed.untrained`."""
        from lossproof.lab.unlossed import untrained

        return untrained(self)

    # Weights without an effect ----------------------------------------------------------------------------------

    def lost_sample_weights(self) -> Lost | None:
        """See `weights_lost.lost_sample_weights`."""
        from lossproof.lab.weights_lost import lost_sample_weights

        return lost_sample_weights(self)

    def lost_loss_weights(self) -> Lost | None:
        """See `weights_lost.lost_loss_weights`."""
        from lossproof.lab.weights_lost import lost_loss_weights

        return lost_loss_weights(self)

    def ignored_mask(self) -> Ignored | None:
        """See `masks.ignored_mask`."""
        from lossproof.lab.masks import ignored_mask

        return ignored_mask(self)

    def losses_passed_on(self) -> list[Passing]:
        """See `passing.passing`."""
        from lossproof.lab.passing import passing

        return passing(self)

    # The encoding of the targets --------------------------------------------------------------------------------

    def recoded(self) -> Recoded | None:
        """See `labels.recoded`."""
        from lossproof.lab.labels import recoded

        return recoded(self)

    def first_label_only(self) -> FirstOnly | None:
        """See `labels.first_label_only`."""
        from lossproof.lab.labels import first_label_only

        return first_label_only(self)

    # How the predictions are read -------------------------------------------------------------------------------

    def misread(self) -> Iterator[Misread]:
        """See `reading.misread`."""
        from lossproof.lab.reading import misread

        return misread(self)

    def place_of_use(self, subject: Subject) -> Place | None:
        """The user's expression that hands a subject's predictions to a function not the user's; else its place."""
        leaves = {id(leaf) for leaf in keras.tree.flatten(subject.traceable()[1][1:])}
        calls = [one for one in self.trace(subject).events if one.kind == "call"]
        used = [one for one in calls if any(id(leaf) in leaves for o in one.operands for leaf in _leaves(o.value))]
        return self.place_of_event(used[-1]) if used else self.place(subject)

    # NaN and Inf -------------------------------------------------------------------------------------------------

    def troubles(self) -> tuple[Trouble, ...]:
        """What is NaN or infinite on inputs that the script reaches; see `troubles.troubles`."""
        from lossproof.lab.troubles import troubles

        return troubles(self)

    # Ranks and the batch axis ------------------------------------------------------------------------------------

    def alignments(self, subject: Subject) -> tuple[Alignment, ...]:
        """See `alignment.alignments`."""
        from lossproof.lab.alignment import alignments

        found: tuple[Alignment, ...] = self.once(
            "alignments", id(subject), experiment=lambda: tuple(alignments(self, subject))
        )
        return found

    def moved_into_range(self, alignment: Alignment) -> Alignment | None:
        """See `alignment.moved_into_range`."""
        from lossproof.lab.alignment import moved_into_range

        return moved_into_range(alignment)

    def beaten_by_a_constant(self, alignment: Alignment) -> bool | None:
        """See `alignment.beaten_by_a_constant`."""
        from lossproof.lab.alignment import beaten_by_a_constant

        return beaten_by_a_constant(self, alignment)

    def pairing(self, alignment: Alignment) -> Pairing:
        """See `alignment.pairing`."""
        from lossproof.lab.alignment import pairing

        return pairing(self, alignment)

    def place_of_reduction(self, subject: Subject) -> Place | None:
        """The user's expression that gives up the batch axis; where the subject is defined, if none can be seen."""
        from lossproof.lab.alignment import batch_reduction

        event = self.attempt(lambda: batch_reduction(self, subject))
        return self.place_of_event(event) if event is not None else self.place(subject)

    def all_pairs(self, subject: Subject) -> AllPairs | None:
        """See `pairs.all_pairs`."""
        from lossproof.lab.pairs import all_pairs

        found: AllPairs | None = self.attempt(lambda: all_pairs(self, subject))
        return found

    def dealt(self, alignment: Alignment, subject: Subject) -> float | None:
        """See `alignment.dealt`."""
        from lossproof.lab.alignment import dealt

        return dealt(self, alignment, subject)

    def coupling(self, subject: Subject) -> Coupling | None:
        """See `coupling.coupling`."""
        from lossproof.lab.coupling import coupling

        found: Coupling | None = self.once("coupling", id(subject), experiment=lambda: coupling(self, subject))
        return found

    def spreading(self, subject: Subject) -> Spreading | None:
        """See `spreading.spreading`."""
        from lossproof.lab.spreading import spreading

        found: Spreading | None = self.once("spreading", id(subject), experiment=lambda: spreading(self, subject))
        return found

    def losses_with_values(self) -> tuple[LossSubject, ...]:
        """See `wrong_axis.losses_with_values`."""
        from lossproof.lab.wrong_axis import losses_with_values

        found: tuple[LossSubject, ...] = self.once("losses with values", experiment=lambda: losses_with_values(self))
        return found

    def wrong_axis(self, subject: LossSubject) -> WrongAxis | None:
        """See `wrong_axis.wrong_axis`."""
        from lossproof.lab.wrong_axis import wrong_axis

        found: WrongAxis | None = self.once("axis", id(subject), experiment=lambda: wrong_axis(self, subject))
        return found

    def perfect(self, alignment: Alignment) -> tuple[float, float] | None:
        """See `alignment.perfect`."""
        from lossproof.lab.alignment import perfect

        return perfect(self, alignment)

    # Gradients -------------------------------------------------------------------------------------------------

    def slopes_in_predictions(self, subject: Subject) -> Comparison | None:
        """See `slopes.in_predictions`."""
        from lossproof.lab.slopes import in_predictions

        try:
            return in_predictions(self, subject)
        except NotApplicable:
            raise
        except Exception as error:
            raise NotApplicable(f"the gradient cannot be computed: {type(error).__name__}: {_line(error)}") from error

    def slopes_in_weights(self) -> Comparison | None:
        """See `fused.in_weights`."""
        from lossproof.lab.fused import in_weights

        _ = self.evaluation  # where the objective cannot be evaluated, this says so
        try:
            return in_weights(self)
        except NotApplicable:
            raise
        except Exception as error:
            raise NotApplicable(f"the gradient cannot be computed: {type(error).__name__}: {_line(error)}") from error

    def place_of_predictions_use(self) -> Place | None:
        """The user's expression that hands the predictions, as the model made them, to a function not the user's."""
        for subject in self.subjects:
            leaves = {id(leaf) for leaf in keras.tree.flatten(subject.y_pred)}
            for event in reversed(self.trace(subject).events):
                if event.kind == "call" and any(id(operand.value) in leaves for operand in event.operands):
                    return replace(self.place_of_event(event), labels=())
        return self.place(self.subjects[0]) if self.subjects else self.capture.where

    # Execution -----------------------------------------------------------------------------------------------

    def following(self, change: Change) -> Following:
        """Whether the compiled step follows a value that the script changed. See `following.following`."""
        from lossproof.lab.following import compiled_weight, following

        return compiled_weight(self, change) or following(self, change)

    @property
    def mode(self) -> str:
        """How the script runs its steps: `eager`, `graph` or `jit`."""
        from lossproof.lab.following import mode_of

        return mode_of(self)

    def divergence(self, subject: Subject) -> Divergence | None:
        """See `staging.divergence`."""
        from lossproof.lab.staging import divergence

        return divergence(self, subject)

    def untraceable(self) -> Untraceable | None:
        """See `traceability.untraceable`."""
        from lossproof.lab.traceability import untraceable

        found: Untraceable | None = self.attempt(lambda: untraceable(self))
        return found

    def retracing(self) -> Retracing | None:
        """See `retracing.retracing`."""
        from lossproof.lab.retracing import retracing

        return retracing(self)

    def replica_scaling(self) -> ReplicaScaling | None:
        """See `replicas.replica_scaling`."""
        from lossproof.lab.replicas import replica_scaling

        return replica_scaling(self)

    def frozen_randomness(self) -> FrozenRandomness | None:
        """See `randomness.frozen_randomness`."""
        from lossproof.lab.randomness import frozen_randomness

        return frozen_randomness(self)

    def with_variable(self, variable: Any, value: np.ndarray) -> tuple[float, float]:
        """See `following.with_variable`."""
        from lossproof.lab.following import with_variable

        return with_variable(self, variable, value)

    def place_of_reading(self, slot: Slot) -> Place | None:
        """See `following.place_of_reading`."""
        from lossproof.lab.following import place_of_reading

        return place_of_reading(slot)

    def has_modes(self) -> bool:
        """Whether a layer of the model works differently in training."""
        from lossproof.lab.training_flag import sensitive

        return bool(sensitive(self.model.model))

    def inactive_layers(self) -> Inactive | None:
        """See `training_flag.inactive`."""
        from lossproof.lab.training_flag import inactive

        found: Inactive | None = self.attempt(lambda: inactive(self))
        return found

    # State -----------------------------------------------------------------------------------------------------

    def shared_weights(self, other: Training) -> int:
        """How many trainable weights this model shares with an earlier training."""
        from lossproof.lab.sharing import shared_positions

        return len(shared_positions(self, other))

    def total_with_shared(self, other: Training) -> float | None:
        """See `sharing.total_with_shared`."""
        from lossproof.lab.sharing import total_with_shared

        return total_with_shared(self, other)

    def reported(self, kind: Literal["train", "test"], halves: bool = False, reset: Any = None) -> Reported | None:
        """What Keras reports of a step on the captured batch (or on its halves in turn); None where it cannot be run.

        See `reporting.report`.
        """
        from lossproof.lab import reporting

        def experiment() -> Reported:
            batches = reporting.halves(self) if halves else (self.batch,)
            return reporting.report(self, kind, batches, reset)

        result: Reported | None = self.once(
            "reported", kind, halves, reset, experiment=lambda: self.attempt(experiment)
        )
        return result

    def scale_of_report(self) -> Scale | None:
        """See `reporting.scale_of_report`."""
        from lossproof.lab.reporting import scale_of_report

        scale: Scale | None = self.attempt(lambda: scale_of_report(self))
        return scale

    @property
    def compiled_total(self) -> float:
        """What `compute_loss` makes of the captured batch, whatever a step of the user's does."""
        with self.undisturbed(), self.model.scope():
            total = self.model.compute_loss(self.batch, self.model.forward(self.batch.x))
            return float(np.sum(self.number(total)))

    def averaged_metrics(self) -> tuple[Averaged, ...]:
        """See `epochs.averaged_metrics`."""
        from lossproof.lab.epochs import averaged_metrics

        try:
            return averaged_metrics(self)
        except NotApplicable:
            raise
        except Exception as error:
            raise NotApplicable(f"the metrics cannot be evaluated: {type(error).__name__}: {_line(error)}") from error

    def compiled_metrics(self) -> dict[str, float]:
        """The results of the metrics given to `compile` on the captured batch alone."""
        compiled = keras_private.compile_metrics(self.capture.model)

        def experiment() -> dict[str, float]:
            compiled.reset_state()
            batch, y_pred = self.batch, self.forward.y_pred
            compiled.update_state(batch.y, y_pred, sample_weight=batch.sample_weight)
            results = {name: self.number(value) for name, value in compiled.result().items()}
            return {name: float(value.reshape(())) for name, value in results.items() if value.size == 1}

        if compiled is None:
            return {}
        with self.undisturbed(), self.model.scope(collect=False):
            return self.attempt(experiment) or {}

    def unlisted_metrics(self) -> bool:
        """See `reporting.unlisted_in_layers`."""
        from lossproof.lab.reporting import unlisted_in_layers

        return unlisted_in_layers(self.capture.model)

    @property
    def evaluated(self) -> bool:
        """Whether the script evaluates this model: on its own, or in the captured `fit`."""
        data, model = self.capture.data, self.capture.model
        if data.get("validation_data") is not None or data.get("validation_split"):
            return True
        return any(one.call in ("evaluate", "test_on_batch") and one.model is model for one in self.run.captures)

    def metrics_after_reset(self) -> list[tuple[Any, float, float]]:
        """See `reporting.update_after_reset`."""
        from lossproof.lab.reporting import update_after_reset

        return update_after_reset(self)

    def foreign_optimizer(self) -> Foreign | None:
        """See `stepping.foreign`."""
        from lossproof.lab.stepping import foreign

        return foreign(self)

    def one_step(self, state: bool = False, weights: Sequence[Any] | None = None) -> Step | None:
        """See `stepping.one_step`; `state` is whether it starts from what the user's optimizer brought along."""
        from lossproof.lab.stepping import one_step

        def experiment() -> Step:
            return one_step(self, self.capture.optimizer_state if state else None, weights)

        step: Step | None = self.attempt(experiment)
        return step

    def refusal(self) -> Exception | None:
        """See `stepping.refusal`."""
        from lossproof.lab.stepping import refusal

        error: Exception | None = self.attempt(lambda: refusal(self))
        return error

    def layers_with(self, ids: frozenset[int]) -> list[str]:
        """See `stepping.layers_with`."""
        from lossproof.lab.stepping import layers_with

        return layers_with(self, ids)

    def weights_of(self, ids: frozenset[int]) -> list[Any]:
        """The variables of the model with these `id`s, in its order."""
        return [variable for variable in self.model.model.variables if id(variable) in ids]

    @property
    def last_compiled(self) -> bool:
        """Whether no later call of `compile` of this model was seen than that of the capture."""
        own = self.capture.compiled
        serials = [one.compiled.serial for one in self.run.captures if one.model is self.capture.model and one.compiled]
        return own is not None and own.serial == max(serials, default=own.serial)

    def with_values_for_symbols(self) -> Replayed | None:
        """See `symbolic.replayed`."""
        from lossproof.lab.symbolic import replayed

        result: Replayed | None = self.once("symbols", experiment=lambda: replayed(self))
        return result

    # Files -----------------------------------------------------------------------------------------------------

    def unloadable(self) -> Unloadable | None:
        """See `persistence.unloadable`."""
        from lossproof.lab.persistence import unloadable

        return unloadable(self)

    def changed_by_file(self) -> ChangedByFile | None:
        """See `persistence.changed_by_file`."""
        from lossproof.lab.persistence import changed_by_file

        return changed_by_file(self)

    # Places ------------------------------------------------------------------------------------------------------

    def place_of_event(self, event: Event) -> Place:
        """Where an expression stands, with the shapes of its operands under them."""
        file, cell = split_cell(event.place.file) or (event.place.file, None)
        return replace(event.place, file=shown_path(file), cell=cell, labels=labels_for(event))

    def place_of_method(self, name: str) -> Place | None:
        """Where a method of the user's model is defined; where the model was trained if it is Keras's own."""
        method = getattr(type(self.capture.model), name)
        own = place_of_function(getattr(method, "fget", None) or method)
        return own if own is not None and is_user_file(own.file) else self.capture.where

    def place_of_failure(self) -> Place | None:
        """The innermost of the user's expressions in which the captured call failed; the call itself at the outermost."""
        error = self.capture.error
        own = place_of_traceback(error.__traceback__) if error is not None else None
        return own if own is not None else self.capture.where

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
        name=str(getattr(function, "__name__", loss.name) if hasattr(loss, "fn") else type(loss).__name__),
        function=function,
        y_true=heard.y_true,
        y_pred=heard.y_pred,
        sample_weight=heard.sample_weight,
        x=x,
        output=output,
        weight=None if weight is None else float(np.array(keras.ops.convert_to_numpy(weight))),
        loss=loss,
    )


def metric_subject(heard: Heard) -> MetricSubject | StatefulMetricSubject:
    """A metric that was heard, as a subject of experiments."""
    metric = heard.target
    function = keras_private.metric_function(metric)
    fields = {
        "kind": "metric",
        "name": metric.name,
        "function": function if function is not None else metric.update_state,
        "y_true": heard.y_true,
        "y_pred": heard.y_pred,
        "sample_weight": heard.sample_weight,
        "metric": metric,
    }
    return MetricSubject(**fields) if function is not None else StatefulMetricSubject(**fields)


def loose_subject(call: LossCall) -> LossSubject:
    """A loss that was called outside of a watched fit, with what it received."""
    data = (to_tensors(part) for part in (call.y_true, call.y_pred, call.sample_weight))
    return loss_subject(Heard(call.loss, *data), None, None)


def _leaves(value: Any) -> list[Any]:
    return keras.tree.flatten(value) if isinstance(value, (list, tuple, dict)) else [value]


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else "no message"
