"""Runs the user's own `train_step` once, eagerly, and puts everything back: what loss it differentiates, and how.

The loss is read where autodiff starts (`GradientTape.gradient`, `Tensor.backward`, `jax.value_and_grad`), and no update
is applied: `Optimizer.apply` is only listened to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.backends import running_backend
from lossproof.lab.listen import Hearing, listening
from lossproof.lab.model import Functional, present_value
from lossproof.lab.received import Batch
from lossproof.lab.replace import replaced
from lossproof.rules.rule import NotApplicable

if TYPE_CHECKING:
    from lossproof.lab.lab import Lab


@dataclass
class StepOutcome:
    """What one run of a custom step showed."""

    losses: list[float] = field(default_factory=list)
    """Each scalar that the step differentiates, in order."""
    gradients: list[list[np.ndarray | None]] = field(default_factory=list)
    """The gradients of each call of `optimizer.apply`."""
    applied: list[list[Any]] = field(default_factory=list)
    """The variables to which each of these calls applies them, in the same order; None for what is no variable."""
    hearing: Hearing = field(default_factory=Hearing)
    logs: dict[str, Any] = field(default_factory=dict)


def run_step(
    model: Functional,
    batch: Batch,
    step: Callable[..., Any] | None = None,
    scale: float = 1.0,
    gradients_stay: bool = False,
) -> StepOutcome:
    """One eager run of `model.train_step` on a batch, from the captured weights; nothing is left changed.

    Args:
        model: The captured model.
        batch: What the step receives.
        step: What to call instead of `model.train_step`, with the same arguments (an instrumented twin of it).
        scale: Of the loss, where the optimizer is a `LossScaleOptimizer`. It starts at 32768 and is halved until the
            gradients of a step are finite, so that its first steps need not be.
        gradients_stay: Whether it finds the gradients that PyTorch has stored, and leaves its own; by default it finds
            none, and those that were there are put back.

    Raises:
        Whatever the user's step raises.
    """
    outcome = StepOutcome()
    parts = [batch.x, batch.y, batch.sample_weight]
    while parts and parts[-1] is None:
        parts.pop()
    data = tuple(parts) if len(parts) > 1 else parts[0]
    kept: AbstractContextManager[None] = nullcontext()
    if not gradients_stay:
        kept = running_backend().stored_gradients(model.model.trainable_variables)
    with observed(model, outcome, scale), kept:
        owner = model.model
        step = step or owner.train_step
        if running_backend().name == "jax":
            logs, _ = step(jax_state(owner), data)
        else:
            logs = step(data)
        if isinstance(logs, dict):
            outcome.logs = logs
    return outcome


def rerun_step(lab: Lab) -> StepOutcome:
    """One eager run of the user's own `train_step` on the captured batch; nothing is updated.

    Raises:
        NotApplicable: The step cannot be run on the captured batch.
    """
    try:
        return run_step(lab.model, lab.batch)
    except NotApplicable:
        raise
    except Exception as error:
        raise NotApplicable(f"train_step cannot be run again: {type(error).__name__}: {error}") from error


@contextmanager
def observed(model: Functional, outcome: StepOutcome, scale: float | None = None) -> Iterator[None]:
    """Inside, steps run from the captured weights and update nothing; what they show is noted in `outcome`."""
    with ExitStack() as stack:
        stack.enter_context(running_backend().repeatable())
        stack.enter_context(restored(model, scale))
        stack.enter_context(_differentiation_heard(outcome))
        stack.enter_context(_updates_withheld(outcome, model.model))
        outcome.hearing = stack.enter_context(listening())
        yield


@contextmanager
def rehearsed(model: Functional) -> Iterator[None]:
    """Inside, a step of the model's can be run or traced: it updates nothing that is not put back."""
    with restored(model), _updates_withheld(StepOutcome(), model.model):
        yield


@contextmanager
def restored(model: Functional, scale: float | None = None) -> Iterator[None]:
    """Inside, the model's variables hold their captured values; afterwards all of its variables are as before.

    `scale` is that of the loss for a `LossScaleOptimizer`, None for what the script has.
    """
    owner = model.model
    variables = _all_variables(owner)
    before = [present_value(variable) for variable in variables]
    try:
        if running_backend().name == "jax":  # a step that failed leaves the variables without values
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
        for variable, value in model.state:
            variable.assign(value)
        with _scaled_by(owner.optimizer, scale):
            yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            if value.shape == tuple(variable.shape):  # a step that failed may leave variables without a value
                variable.assign(value)


@contextmanager
def _scaled_by(optimizer: Any, scale: float | None) -> Iterator[None]:
    """Inside, a `LossScaleOptimizer` has this scale; a variable of it is put back with the others."""
    if scale is None or not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        yield
        return
    before = optimizer.initial_scale
    optimizer.initial_scale = scale
    if optimizer.built:
        optimizer.dynamic_scale.assign(scale)
    try:
        yield
    finally:
        optimizer.initial_scale = before


def _all_variables(model: Any) -> list[Any]:
    found = {id(v): v for v in [*model.variables, *model.metrics_variables]}
    for value in [model.optimizer, *vars(model).values()]:
        if isinstance(value, (keras.optimizers.Optimizer, keras.metrics.Metric)):
            found.update({id(v): v for v in value.variables})
    return list(found.values())


def jax_state(model: Any) -> tuple[list[Any], ...]:
    """The state that a step of JAX takes: trainable, other, the optimizer's and the metrics' variables."""
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    return tuple([v.value for v in group] for group in groups)


def _present_scale(optimizer: Any) -> Any:
    """What a `LossScaleOptimizer` multiplies a loss by, and divides the gradients by."""
    return keras.ops.convert_to_tensor(optimizer.dynamic_scale) if optimizer.built else optimizer.initial_scale


def _divided(gradients: Any, scale: Any) -> list[Any]:
    dense = running_backend().dense
    return [None if gradient is None else dense(gradient) / scale for gradient in gradients]


@contextmanager
def _updates_withheld(outcome: StepOutcome, model: Any) -> Iterator[None]:  # noqa: C901 - replacements that share `note`
    optimizer = keras.optimizers.Optimizer

    def note(gradients: Any, variables: Any) -> None:
        backend = running_backend()
        known = {id(v): v for v in model.trainable_variables}
        if backend.name == "jax":  # whose steps handle the variables' values
            known |= {id(v.value): v for v in model.trainable_variables}
        outcome.applied.append([known.get(id(variable)) for variable in variables])
        outcome.gradients.append(
            [np.asarray(backend.numpy(g)) if g is not None and backend.is_concrete(g) else None for g in gradients]
        )

    def heard_apply(_: Any) -> Any:
        def apply(self: Any, grads: Any, trainable_variables: Any = None, **_: Any) -> None:
            known = trainable_variables if trainable_variables is not None else keras_private.optimized_variables(self)
            note(_divided(grads, 1.0), list(known))

        return apply

    def heard_apply_gradients(_: Any) -> Any:
        def apply_gradients(self: Any, grads_and_vars: Any, *_: Any, **__: Any) -> None:
            pairs = list(grads_and_vars)
            scaling = isinstance(self, keras.optimizers.LossScaleOptimizer)
            scale = _present_scale(self) if scaling else 1.0
            note(_divided([gradient for gradient, _ in pairs], scale), [variable for _, variable in pairs])

        return apply_gradients

    def heard_stateless(_: Any) -> Any:
        def stateless_apply(_self: Any, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
            note(list(grads), list(trainable_variables))
            return trainable_variables, optimizer_variables

        return stateless_apply

    def heard_scaling(_: Any) -> Any:
        def apply(self: Any, grads: Any, trainable_variables: Any = None) -> None:
            known = trainable_variables or keras_private.optimized_variables(self)
            note(_divided(grads, _present_scale(self)), list(known))

        return apply

    def heard_scaled(_: Any) -> Any:
        def stateless_apply(self: Any, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
            # Keras's own hands them to the inner optimizer inside a traced branch, where gradients have no values.
            values = {id(v): value for v, value in zip(self.variables, optimizer_variables, strict=True)}
            scale = values[id(self.dynamic_scale)]
            note(_divided(grads, scale), list(trainable_variables))
            return trainable_variables, optimizer_variables

        return stateless_apply

    with ExitStack() as stack:
        for owner, name, make in (
            (optimizer, "apply", heard_apply),
            (optimizer, "apply_gradients", heard_apply_gradients),
            (optimizer, "stateless_apply", heard_stateless),
            (keras.optimizers.LossScaleOptimizer, "apply", heard_scaling),
            (keras.optimizers.LossScaleOptimizer, "stateless_apply", heard_scaled),
        ):
            stack.enter_context(replaced(owner, name, make))
        yield


@contextmanager
def _differentiation_heard(outcome: StepOutcome) -> Iterator[None]:
    backend = running_backend()

    def note(value: Any) -> None:
        outcome.losses.append(float(np.sum(np.asarray(backend.numpy(value), dtype="float64"))))

    with ExitStack() as stack:
        for owner, name, make in backend.differentiation(note):
            stack.enter_context(replaced(owner, name, make))
        yield
