"""One training while it is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.copies import copies, copy_of
from lossproof.capture.objective import roots
from lossproof.capture.place import place_of_function
from lossproof.capture.values import Changes
from lossproof.comparison.feed import Feed
from lossproof.comparison.implant import give_optimizer, give_weights
from lossproof.comparison.point import measure
from lossproof.comparison.recording import Optimizer, Step, Training, Variable, sampled
from lossproof.comparison.rows import marks_of_data
from lossproof.comparison.transplant import Transplant
from lossproof.lab.backends import running_backend
from lossproof.lab.received import as_batch
from lossproof.objective.trainer import Trainer


class Session:
    """Follows one training from its call to its last recorded step, and applies what the transplant gives it."""

    def __init__(
        self,
        number: int,
        call: str,
        where: str,
        model: Any,
        arguments: dict[str, Any],
        transplant: Transplant | None,
        steps: int,
        histories: Callable[[Any], tuple[str, ...]],
    ) -> None:
        self.number, self.call, self.where, self.model = number, call, where, model
        self._arguments, self._transplant, self._most, self._histories = arguments, transplant, steps, histories
        donor = transplant.donor if transplant is not None else None
        given = donor.batches if donor is not None and self._has("batches") else ()
        self.feed = Feed(steps, given)
        self._steps: list[Step] = []
        self._training: Training | None = None
        self._start: list[np.ndarray] = []
        self._changes = Changes()
        self._optimizer: Any = None

    def _has(self, organ: str) -> bool:
        return self._transplant is not None and self._transplant.has(organ, self.number)

    @property
    def implants(self) -> bool:
        """Whether this training is given the objective of the other run."""
        return self._has("objective")

    @property
    def interprets(self) -> bool:
        """Whether functions that the script compiles itself are to run as Python."""
        return self._has("functions")

    def is_over(self) -> bool:
        """Whether all steps that are wanted are recorded."""
        return len(self._steps) >= self._most

    def goes_on(self, call: str) -> bool:
        """Whether a further call of the same kind belongs to this training: its model was not compiled anew since."""
        return call == self.call and getattr(self.model, "optimizer", None) is self._optimizer

    def prepare(self) -> None:
        """What must happen before Keras makes its step."""
        if self._transplant is None:
            return
        if self._has("mode") or self._has("functions"):
            mode = self._transplant.donor.mode
            self.model.run_eagerly = mode == "eager"
            self.model.jit_compile = mode == "jit"
        self.model.train_function = None  # one that is traced already holds what is to be replaced

    def begin(self) -> None:
        """Training is about to begin, and everything is built."""
        self._build()
        self.feed.begin()
        model, given = self.model, self._transplant
        if given is not None:
            if self._has("weights"):
                give_weights(model, given.donor)
            if self._has("optimizer") and given.donor.optimizer is not None:
                give_optimizer(model, given.donor.optimizer)
            if self._has("rng"):
                give_weights(model, given.donor, seeds=True)
                running_backend().set_random_state(given.donor.generators)
        self._optimizer = getattr(model, "optimizer", None)
        trainable = {id(v) for v in model.trainable_variables}
        self._start = copies(model.variables)
        self._changes.begin(roots(model, None))
        self._training = Training(
            call=self.call,
            where=self.where,
            model=model.name,
            mode=mode_of(model),
            objective=_objective(model),
            variables=tuple(
                Variable(v.path, kind_of(v, trainable), value, self._histories(v))
                for v, value in zip(model.variables, self._start, strict=True)
            ),
            optimizer=_optimizer(model),
            generators=running_backend().random_state(),
            rows=None,
            batches=(),
            steps=(),
            point=None,
        )

    def _build(self) -> None:
        """Make the variables now: on TensorFlow it is the first step that makes them, where they cannot be given values."""
        if self.model.built or self.call != "fit" or isinstance(self._arguments.get("x"), Iterator):
            return
        with suppress(Exception):  # then what is wrong with the data shows in the step
            batch = as_batch(next(iter(keras_private.epoch_data(self._arguments))))
            keras_private.build(self.model, (batch.x, batch.y, batch.sample_weight))

    def batch_of(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a `train_on_batch`, with the batch that it is to get."""
        if self._training is None:
            parts = (arguments.get("x"), arguments.get("y"), arguments.get("sample_weight"))
            batch = as_batch(parts)
            keras_private.build(self.model, (batch.x, batch.y, batch.sample_weight))
            self.begin()
        x, y, weight = self.feed.pass_on((arguments.get("x"), arguments.get("y"), arguments.get("sample_weight")))
        return {**arguments, "x": x, "y": y, "sample_weight": weight}

    def end_step(self, logs: dict[str, Any]) -> None:
        """A step has ended."""
        if self.is_over():
            return
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        loss = logs.get("loss")
        weights = tuple(sampled(copy_of(v)) for v in self.model.trainable_variables)
        self._steps.append(Step(None if loss is None else float(np.asarray(loss)), weights))

    def finish(self) -> None:
        """Evaluate the objective where training began, and mark the rows of the data."""
        if self._training is None:
            return
        point, notes = None, []
        if self.feed.batches:
            try:
                point = measure(self.model, self._start, self.feed.batches[0], self._changes)
            except Exception as error:  # the user's code may refuse to run eagerly
                notes.append(f"the objective cannot be evaluated eagerly: {type(error).__name__}: {str(error)[:160]}")
        rows = marks_of_data(self._arguments) if self.call == "fit" else None
        self._training = replace(self._training, point=point, rows=rows, notes=tuple(notes))

    def finished(self) -> Training:
        """What was recorded."""
        if self._training is not None and self._training.point is None and not self._training.notes:
            self.finish()
        nothing = Training(self.call, self.where, self.model.name, "", "", (), None, None, None, (), (), None)
        return replace(self._training or nothing, batches=tuple(self.feed.batches), steps=tuple(self._steps))


def mode_of(model: Any) -> str:
    """How Keras runs the model's steps: `eager`, `graph` or `jit`."""
    backend = keras.backend.backend()
    if model.run_eagerly:
        return "eager"
    if model.jit_compile:
        return "jit"
    return "graph" if backend == "tensorflow" else "eager"


def kind_of(variable: Any, trainable: set[int]) -> str:
    """`trainable`, `state` or `seed`, see `recording.Variable`."""
    if id(variable) in trainable:
        return "trainable"
    return "seed" if "seed_generator_state" in variable.path and "int" in str(variable.dtype) else "state"


def _objective(model: Any) -> str:
    if isinstance(model, Trainer):
        weights = [
            f"{one.weight:g}" if isinstance(one.weight, float) else _class(one.weight) for one in model.objective
        ]
        terms = [one.name if w == "1" else f"{w} * {one.name}" for one, w in zip(model.objective, weights, strict=True)]
        strategy = f", weighted by {_class(model.weighting)}" if model.weighting is not None else ""
        return f"lp.Objective: {' + '.join(terms)}{strategy}"
    for name in ("train_step", "compute_loss"):
        if getattr(type(model), name) is not getattr(keras.Model, name):
            place = place_of_function(getattr(type(model), name))
            return f"{type(model).__name__}.{name}" + (f" ({place.file}:{place.line})" if place else "")
    loss = keras_private.compile_config(model).get("loss")
    place = place_of_function(loss) if callable(loss) else None
    name = getattr(loss, "__name__", None) or (type(loss).__name__ if callable(loss) else str(loss))
    return name + (f" ({place.file}:{place.line})" if place and "site-packages" not in place.file else "")


def _class(value: Any) -> str:
    return type(value).__name__


def _optimizer(model: Any) -> Optimizer | None:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return None
    try:
        config = keras.optimizers.serialize(optimizer)
    except Exception:  # one of the user's own that cannot say
        config = None
    return Optimizer(type(optimizer).__name__, config, tuple(copies(optimizer.variables)))
