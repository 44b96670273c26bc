"""One step of an optimizer like the user's, with the state of another training or without, and what it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.copies import copies, copy_of
from lossproof.lab.backends import running_backend
from lossproof.lab.lab import Lab
from lossproof.lab.step import restored


@dataclass(frozen=True)
class Step:
    """One step from the captured weights."""

    total: float
    """The objective after it."""
    length: float
    """The Euclidean norm of the update, over all weights."""


@dataclass(frozen=True)
class Foreign:
    """An optimizer that was built for weights of another model."""

    known: int
    """How many weights it was built for."""
    unknown: int
    """How many of this model's trainable weights are none of them."""
    within: bool
    """Whether those it was built for are all of this model: then `trainable` has changed since."""
    iterations: int
    """How many steps it had made when the call began."""


def foreign(lab: Lab) -> Foreign | None:
    """What the captured model's optimizer was built for, if not for its trainable weights."""
    model, compiled = lab.capture.model, lab.capture.compiled
    optimizer = compiled.arguments.get("optimizer") if compiled is not None else None
    if not isinstance(optimizer, keras.optimizers.Optimizer) or not model.built:
        return None
    known = keras_private.optimized_variables(optimizer)
    ids = {id(one) for one in known}
    unknown = [one for one in model.trainable_variables if id(one) not in ids]
    if not known or not unknown:
        return None
    own = {id(one) for one in model.variables}
    state = lab.capture.optimizer_state
    iterations = next((int(v) for v in state or () if v.ndim == 0 and v.dtype.kind in "iu"), 0)
    return Foreign(len(known), len(unknown), ids <= own, iterations)


def one_step(lab: Lab, state: Sequence[np.ndarray] | None = None, weights: Sequence[Any] | None = None) -> Step | None:
    """One step on the captured batch with a fresh optimizer of the user's settings; None where it is refused.

    Args:
        lab: The laboratory.
        state: The values of the optimizer's variables from which it starts; None for its own.
        weights: The variables to train; the trainable ones by default.
    """
    step: Step | None = lab.attempt(lambda: _one_step(lab, state, weights))
    return step


def _one_step(lab: Lab, state: Sequence[np.ndarray] | None, weights: Sequence[Any] | None) -> Step:
    """Raises whatever the optimizer or the objective raises, a `ValueError` if the state does not fit."""
    backend = running_backend()
    fresh = _fresh(lab)
    trained = list(lab.model.trainable if weights is None else weights)
    values = {id(variable): value for variable, value in lab.model.state}
    start = [values[id(variable)] for variable in trained]

    def objective(*tensors: Any) -> Any:
        mapping = list(zip(trained, tensors, strict=True))
        with lab.model.scope(), keras.StatelessScope([*lab.model.state, *mapping], collect_losses=True):
            return lab.model.compute_loss(lab.batch, lab.model.forward(lab.batch.x))

    _, gradients = backend.gradient(objective, start)
    with restored(lab.model):
        fresh.build(trained)
        if state is not None:
            if [tuple(v.shape) for v in fresh.variables] != [value.shape for value in state]:
                raise ValueError("the state of the optimizer does not fit the weights")
            for variable, value in zip(fresh.variables, state, strict=True):
                variable.assign(value)
        pairs = [(g, v) for g, v in zip(gradients, trained, strict=True) if g is not None]
        before = copies(trained)
        fresh.apply([g for g, _ in pairs], [v for _, v in pairs])
        after = copies(trained)
    moved = float(
        np.sqrt(sum(float(np.sum((a - b).astype("float64") ** 2)) for a, b in zip(after, before, strict=True)))
    )
    total = float(np.sum(lab.number(objective(*[backend.tensor(value) for value in after]))))
    return Step(total, moved)


def _fresh(lab: Lab) -> Any:
    """A new optimizer of the user's settings; variables that a failed step on JAX has left without values get some."""
    model = lab.capture.model
    values = {id(variable): value for variable, value in lab.model.state}
    for variable in [*model.variables, *model.metrics_variables, *model.optimizer.variables]:
        try:
            copy_of(variable)
        except Exception:  # see keras/src/backend/jax/trainer.py: the step owns the values
            shape, dtype = tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype)
            variable.assign(values.get(id(variable), np.zeros(shape, dtype)))
    config = lab.capture.optimizer_config
    return type(model.optimizer).from_config(config if config is not None else model.optimizer.get_config())


def refusal(lab: Lab) -> Exception | None:
    """What an optimizer raises that was built for the weights of `compile`, given the gradients of those of the call.

    None where it takes them, or where `trainable` did not change in between.
    """
    changed = lab.capture.retrained
    if changed is None:
        return None
    by_id = {id(variable): variable for variable in lab.capture.model.variables}
    compiled, declared = ([by_id[i] for i in by_id if i in ids] for ids in (changed.compiled, changed.declared))
    fresh = _fresh(lab)
    values = {id(variable): value for variable, value in lab.model.state}
    gradients = [keras.ops.ones_like(values[id(variable)]) for variable in declared]
    with restored(lab.model):
        fresh.build(compiled)
        try:
            if running_backend().name == "jax":
                fresh.stateless_apply([v.value for v in fresh.variables], gradients, [v.value for v in declared])
            else:
                fresh.apply(gradients, declared)
        except Exception as error:  # of Keras, about the weights
            return error
    return None


def weights_of(lab: Lab, ids: frozenset[int]) -> list[Any]:
    """The variables of the model with these `id`s, in its order."""
    return [variable for variable in lab.model.model.variables if id(variable) in ids]


def layers_with(lab: Lab, ids: frozenset[int]) -> list[str]:
    """The names of the layers that hold some weights themselves, in the model's order."""
    layers = keras_private.layers_of(lab.capture.model)
    inner = [layer for layer in layers if not any(one is not layer for one in keras_private.layers_of(layer))]
    return [layer.name for layer in inner if any(id(v) in ids for v in layer.variables)]
