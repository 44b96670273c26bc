"""The laboratory: re-runs a captured objective with one thing changed, and keeps each result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import keras
import numpy as np

from lossproof.capture.batch import ROWS, count_rows
from lossproof.capture.place import place_of_function, shown_path
from lossproof.capture.record import Capture, Run
from lossproof.capture.userfiles import is_user_file, split_cell
from lossproof.findings.finding import Place
from lossproof.lab.backends import running_backend
from lossproof.lab.evaluation import Evaluation, evaluate
from lossproof.lab.failure import needed
from lossproof.lab.localize.events import Event, Trace
from lossproof.lab.localize.queries import labels_for
from lossproof.lab.localize.recorder import Recorder
from lossproof.lab.model import Forward, Functional
from lossproof.lab.received import Batch, NoBatch, received_batch, rows_asked
from lossproof.lab.subject import LossSubject, ObjectiveSubject, StepSubject, Subject
from lossproof.lab.subjects import losses_of, metrics_of, objective_of, step_of
from lossproof.lab.tracing import traced
from lossproof.rules.rule import NotApplicable

if TYPE_CHECKING:
    from lossproof.capture.values import Change
    from lossproof.lab.wiring.compiled import CompiledObjective

P = ParamSpec("P")
T = TypeVar("T")


class Lab:
    """A captured objective, and what every experiment on it needs. Properties are computed once, when first asked for.

    An experiment is a function of a module of this package that takes the laboratory and perhaps more; `once` runs it and
    keeps its result. What cannot be had raises `NotApplicable` with the reason, so that a rule need not ask first.

    Args:
        capture: What was seen.
        run: The run that it belongs to.
        most_rows: So many rows stand for a larger batch; None for all that were kept.
    """

    def __init__(self, capture: Capture, run: Run, most_rows: int | None = ROWS) -> None:
        self.capture = capture
        self.run = run
        self._most_rows = most_rows if most_rows is not None else rows_asked(capture)
        self.backend = running_backend()
        self._kept: dict[tuple[Any, ...], Callable[[], Any]] = {}
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
        """One batch as the step received it; of a large one some rows, unless the model takes no other number."""
        return self._received(self._most_rows)

    def _received(self, rows: int) -> Batch:
        try:
            with self.backend.concretely():  # it is kept, and may be asked for first while the objective is traced
                return received_batch(self.capture, rows)
        except NoBatch as reason:
            raise NotApplicable(str(reason)) from reason

    @property
    def batch_size(self) -> int:
        """Rows of the captured batch, as its inputs have them."""
        return int(count_rows(self.batch.x) or 1)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The objective, evaluated once on the captured batch."""
        with needed("the objective cannot be evaluated"):
            try:
                return self._evaluate()
            except Exception:
                rows = rows_asked(self.capture)
                if rows <= ROWS or self.capture.error is not None:
                    raise
                self.batch = self._received(rows)  # a size of batch that the script itself has written down somewhere
                return self._evaluate()

    def _evaluate(self) -> Evaluation:
        with self.capture.changes.moved_inside() as self.changed_by_objective:
            return evaluate(self.model, self.batch, self.overrides_train_step, self.capture.training)

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
        from lossproof.lab.wiring.compiled import CompiledObjective

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
        return losses_of(self)

    @cached_property
    def metrics(self) -> tuple[Subject, ...]:
        """Each metric of the user's that `compile(metrics=...)` evaluates on the batch: functions and own classes."""
        return metrics_of(self)

    @cached_property
    def objective(self) -> ObjectiveSubject | None:
        """The user's `compute_loss`, where the model overrides it (and a step of the user's does not replace it)."""
        return objective_of(self)

    @cached_property
    def step(self) -> StepSubject | None:
        """The user's `train_step`, where the model overrides it."""
        return step_of(self)

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """Everything that can be evaluated: losses, an overridden `compute_loss`, a custom `train_step`."""
        return (*self.losses, *(one for one in (self.objective, self.step) if one is not None))

    # Experiments -------------------------------------------------------------------------------------------------

    def once(self, experiment: Callable[Concatenate[Lab, P], T], *args: P.args, **named: P.kwargs) -> T:
        """The result of an experiment, run the first time that it is asked for with these arguments.

        Args:
            experiment: A function of a module of this package.
            args: What it takes after the laboratory. Numbers and text are told apart by their value, all else by identity.
            named: The same.

        Raises:
            NotApplicable: As the experiment does, each time it is asked for.
        """
        key = (experiment, *map(_key, args), *((name, _key(value)) for name, value in sorted(named.items())))
        if key not in self._kept:
            try:
                result = experiment(self, *args, **named)
                self._kept[key] = partial(_give, result, args, named)
            except NotApplicable as reason:
                self._kept[key] = partial(_refuse, reason, args, named)
        kept: T = self._kept[key]()
        return kept

    def attempt(self, experiment: Callable[[], Any]) -> Any:
        """The result of an experiment that the user's code may refuse; None then."""
        try:
            return experiment()
        except NotApplicable:
            raise
        except Exception:  # whatever the user's code raises on inputs it was not written for
            return None

    def undisturbed(self) -> AbstractContextManager[None]:
        """See `blind.quiet`."""
        from lossproof.lab.blind import quiet

        return quiet(self)

    def number(self, tensor: Any) -> np.ndarray:
        """A tensor's values as NumPy float64 (or its own integer type)."""
        array = np.asarray(self.backend.numpy(tensor))
        return array.astype("float64") if array.dtype.kind == "f" else array

    def value(self, subject: Subject) -> float:
        """The reduced value of a subject, with random numbers that are the same each time."""
        with self.undisturbed():
            return float(np.sum(self.number(self.backend.at_once(subject.total))))

    def unreduced(self, subject: Subject) -> np.ndarray:
        """What the user's function returns for a subject."""
        with self.undisturbed():
            return self.number(self.backend.at_once(subject.unreduced))

    def trace(self, subject: Subject, recorder: Callable[[], Recorder] = Recorder) -> Trace:
        """Every expression that the user's code of a subject evaluates, with its value.

        Args:
            subject: What is evaluated.
            recorder: Makes the recorder of each run, of which a custom step may take two.
        """
        return traced(self, subject, recorder)

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

    def place(self, subject: Subject) -> Place | None:
        """Where the user wrote a subject; for a built-in loss, where it was compiled."""
        own = place_of_function(subject.function) if subject.function is not None else None
        if own is not None and is_user_file(own.file):
            return own
        compiled = self.capture.compiled
        return compiled.where if compiled is not None and compiled.where is not None else self.capture.where


def _key(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else id(value)


def _give(result: T, *_: Any) -> T:  # the arguments are kept alive: the key holds their identities
    return result


def _refuse(reason: NotApplicable, *_: Any) -> Any:
    raise reason
