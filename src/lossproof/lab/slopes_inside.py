"""The gradient of a loss for each expression that leads to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import keras

from lossproof.lab.backends.base import Tensor
from lossproof.lab.backends.inner import InnerGradients
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.localize.recorder import Recorder
from lossproof.lab.measured import Parts, measured, summary_of_gradient
from lossproof.lab.predictions import float_leaves, with_float_leaves
from lossproof.lab.replace import replaced
from lossproof.lab.step import run_step
from lossproof.lab.subject import LossSubject, ObjectiveSubject, StepSubject, Subject


def gradients_inside(lab: Lab, subject: Subject) -> list[tuple[Event, Parts]]:
    """Each expression that the user's code of a subject evaluates, with the gradient of the reduced value for it.

    It is that of the term alone, sample weights included and `loss_weights` not; in a custom step, of what the step
    differentiates.

    Raises:
        Whatever the user's code raises under differentiation.
    """
    inner = lab.backend.inner_gradients()
    recorder = Recorder(mark=inner.mark)
    with lab.backend.lenient_conversions():
        if isinstance(subject, StepSubject):
            _of_step(lab, subject, inner, recorder)
        elif isinstance(subject, ObjectiveSubject):
            _of_objective(lab, subject, inner, recorder)
        elif isinstance(subject, LossSubject):
            _of_loss(lab, subject, inner, recorder)
    events = recorder.events
    if isinstance(subject, StepSubject) and not lab.backend.has_values_while_differentiating:
        # There a step is run without autodiff as well, and what is connected is known by having no values.
        events = tuple(one for one in events if not all(map(lab.backend.is_concrete, _tensors(lab, one.value))))
    return [(one, tuple(_parts(lab, one, inner))) for one in events]


def _of_loss(lab: Lab, subject: LossSubject, inner: InnerGradients, recorder: Recorder) -> None:
    def run(*predictions: Tensor) -> Tensor:
        moved = with_float_leaves(lab, subject, [inner.mark(one) for one in predictions])
        with recorded(lab, subject, recorder):
            return _float(moved.total())

    inner.differentiate(run, float_leaves(lab, subject))


def _of_objective(lab: Lab, subject: ObjectiveSubject, inner: InnerGradients, recorder: Recorder) -> None:
    def run(*weights: Tensor) -> Tensor:
        with lab.model.scope(list(weights)), recorded(lab, subject, recorder):
            forward = lab.model.forward(lab.batch.x)
            marked = keras.tree.map_structure(inner.mark, forward.y_pred)
            return _float(lab.model.compute_loss(lab.batch, replace(forward, y_pred=marked)))

    inner.differentiate(run, lab.model.start)


def _of_step(lab: Lab, subject: StepSubject, inner: InnerGradients, recorder: Recorder) -> None:
    with ExitStack() as stack:
        for owner, name, make in inner.in_steps(recorder.traced):
            stack.enter_context(replaced(owner, name, make))
        run_step(lab.model, subject.batch, recorder.traced(subject.function))


@contextmanager
def recorded(lab: Lab, subject: LossSubject | ObjectiveSubject, recorder: Recorder) -> Iterator[None]:
    """Inside, the user's function of a subject is its instrumented twin; past `__setattr__`, with which Keras tracks."""
    owner: Any = subject.loss if isinstance(subject, LossSubject) else lab.capture.model
    name = "compute_loss" if isinstance(subject, ObjectiveSubject) else "fn" if hasattr(owner, "fn") else "call"
    own = vars(owner)
    had, before = name in own, own.get(name)
    own[name] = recorder.traced(getattr(owner, name))
    try:
        yield
    finally:
        if had:
            own[name] = before
        else:
            del own[name]


def _float(total: Tensor) -> Tensor:
    return keras.ops.cast(keras.ops.convert_to_tensor(total), "float32")  # a count is a loss as well


def _tensors(lab: Lab, value: Any) -> list[Any]:
    return [leaf for leaf in _leaves(value) if lab.backend.is_tensor(leaf)]


def _leaves(value: Any, around: tuple[int, ...] = ()) -> Iterator[Any]:
    if not isinstance(value, tuple | list | dict):
        yield value
    elif id(value) not in around:
        for held in value.values() if isinstance(value, dict) else value:
            yield from _leaves(held, (*around, id(value)))


def _parts(lab: Lab, event: Event, inner: InnerGradients) -> Iterator[Any]:
    came_in = any(inner.of(leaf) is not None for operand in event.operands for leaf in _leaves(operand.value))
    for leaf in _leaves(event.value):
        found = inner.of(leaf)
        for one in measured(lab.backend, leaf):
            if found is not None:
                yield replace(one, gradient=summary_of_gradient(found))
            else:
                yield replace(one, cut=came_in and one.shape is not None)
