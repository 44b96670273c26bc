"""Whether the weights of samples, and of losses, act on what a custom step or `compute_loss` minimises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.place import place_of_function
from lossproof.capture.userfiles import is_user_function
from lossproof.findings.finding import Place
from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import quiet
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs
from lossproof.lab.received import Batch
from lossproof.lab.step import run_step
from lossproof.lab.subject import take
from lossproof.lab.wiring.compiled import CompiledObjective


@dataclass(frozen=True)
class Lost:
    """Weights without an effect."""

    total: float
    changed: float
    """The total with other weights: the same."""
    meant: float
    meant_changed: float
    """The total where they act, with the weights as given and with the others."""
    low: float
    high: float
    """The smallest and the largest weight that was given."""


@dataclass(frozen=True)
class _Reaction:
    """What a step makes of a batch: the loss that is differentiated, and the gradients that are applied."""

    total: float
    gradients: tuple[np.ndarray | None, ...]

    def equals(self, other: _Reaction, terms: int) -> bool:
        if differs(self.total, other.total, terms=terms) or len(self.gradients) != len(other.gradients):
            return False
        for one, two in zip(self.gradients, other.gradients, strict=True):
            if (one is None) != (two is None):
                return False
            if one is not None and two is not None and not np.allclose(one, two, rtol=1e-4, atol=1e-7):
                return False
        return True


def lost_sample_weights(lab: Lab) -> Lost | None:
    """The sample weights (class weights included) have no effect on what is minimised; None where they have one."""
    batch = lab.batch
    given = [lab.number(leaf) for leaf in keras.tree.flatten(batch.sample_weight) if hasattr(leaf, "shape")]
    varied = _values(lab, given)
    if len(given) != 1 or varied is None or given[0].ndim == 0:
        return None
    weights = given[0]
    size = weights.shape[0]
    ramp = np.linspace(0.25, 1.75, size).reshape((size, *[1] * (weights.ndim - 1)))
    others = [np.zeros_like(weights), 3.0 * weights + 1.0, np.broadcast_to(ramp, weights.shape).copy()]
    react = _reaction(lab)
    here: _Reaction | None = lab.attempt(partial(react, batch))
    if here is None or not np.isfinite(here.total):
        return None
    for other in others:
        there = lab.attempt(partial(react, _reweighted(lab, batch, other)))
        if there is None or not here.equals(there, weights.size):
            return None
    each = _each_sample(lab, batch)
    if each is None:
        return None
    first, second = (w.reshape(size, -1).mean(axis=1) for w in (weights, others[2]))
    if np.ptp(first) == 0.0 and first[0] == 1.0:  # this batch's weights are all 1: show what others would do
        first = _stand_in(varied, size)
    meant, meant_changed = float(np.mean(each * first)), float(np.mean(each * second))
    if not differs(here.total, meant, terms=size):
        return None
    return Lost(here.total, react(_reweighted(lab, batch, others[2])).total, meant, meant_changed, *varied)


def own_call(lab: Lab) -> tuple[str, Place | None] | None:
    """The `__call__` that the class of a compiled loss has of the user's, which Keras hands the weights: name and place."""
    for _, loss, *_ in keras_private.flat_losses(lab.capture.model):
        call = type(loss).__call__
        if is_user_function(call):
            return f"{type(loss).__name__}.__call__", place_of_function(call)
    return None


def _stand_in(varied: tuple[float, float], size: int) -> np.ndarray:
    return np.where(np.arange(size) % 2 == 0, varied[0], varied[1])


def _values(lab: Lab, given: list[np.ndarray]) -> tuple[float, float] | None:
    """The smallest and the largest weight that was given; None where they are all 1."""
    asked = lab.capture.data.get("class_weight")
    values = [np.asarray(one, "float64").ravel() for one in given]
    if isinstance(asked, dict) and asked:
        values.append(np.array([float(value) for value in asked.values()]))
    flat = np.concatenate(values) if values else np.ones(1)
    return None if (flat == 1.0).all() or not np.isfinite(flat).all() else (float(flat.min()), float(flat.max()))


def _reweighted(lab: Lab, batch: Batch, weights: np.ndarray) -> Batch:
    flat = keras.tree.flatten(batch.sample_weight)
    leaves = [
        lab.backend.tensor(weights, dtype=keras.backend.standardize_dtype(leaf.dtype))
        if hasattr(leaf, "shape")
        else leaf
        for leaf in flat
    ]
    return replace(batch, sample_weight=keras.tree.pack_sequence_as(batch.sample_weight, leaves))


def _reaction(lab: Lab) -> Callable[[Batch], _Reaction]:
    if lab.overrides_train_step:

        def run(batch: Batch) -> _Reaction:
            with quiet(lab):
                outcome = run_step(lab.model, batch)
            applied = tuple(gradient for one in outcome.gradients for gradient in one)
            return _Reaction(sum(outcome.losses) if outcome.losses else np.nan, applied)

        return run

    def compute(batch: Batch) -> _Reaction:
        with quiet(lab), lab.model.scope():
            forward = lab.model.forward(batch.x)
            return _Reaction(float(np.sum(lab.number(lab.model.compute_loss(batch, forward)))), ())

    return compute


def _each_sample(lab: Lab, batch: Batch) -> np.ndarray | None:
    """The loss of each sample alone; None where it cannot be had."""
    react = _reaction(lab)
    size = next(int(leaf.shape[0]) for leaf in keras.tree.flatten(batch.x) if hasattr(leaf, "shape"))
    values = []
    for i in range(size):
        rows = np.array([i])
        one = Batch(take(batch.x, rows), take(batch.y, rows), take(batch.sample_weight, rows))
        reaction = lab.attempt(partial(react, one))
        if reaction is None or not np.isfinite(reaction.total):
            return None
        values.append(reaction.total)
    return np.array(values)


# Weights of losses -------------------------------------------------------------------------------------------------


def lost_loss_weights(lab: Lab) -> Lost | None:
    """The `loss_weights` of `compile` have no effect though they ask for one; None where they act."""
    compiled = CompiledObjective(lab)
    told = compiled.arguments
    flat = [np.asarray(one, "float64") for one in keras.tree.flatten(told.loss_weights) if one is not None]
    weights = np.array([float(one) for one in flat if one.ndim == 0])
    if told.loss is None or not weights.size or (weights == 1.0).all() or not np.isfinite(weights).all():
        return None
    react = _reaction(lab)
    here: _Reaction | None = lab.attempt(partial(react, lab.batch))
    if here is None or not np.isfinite(here.total):
        return None
    doubled = keras.tree.map_structure(lambda one: None if one is None else 3.0 * one + 1.0, told.loss_weights)
    meant, meant_changed = (
        lab.attempt(partial(_compiled_total, lab, told.loss, w)) for w in (told.loss_weights, doubled)
    )
    if meant is None or meant_changed is None or not differs(meant, meant_changed) or not differs(here.total, meant):
        return None
    with keras_private.recompiled(lab.capture.model, told.loss, doubled):
        there = lab.attempt(partial(react, lab.batch))
    if there is None or not here.equals(there, 64):
        return None
    if _kept_by_user(lab, told.loss_weights, weights):
        return None
    return Lost(here.total, there.total, meant, meant_changed, float(weights.min()), float(weights.max()))


def _compiled_total(lab: Lab, loss: Any, weights: Any) -> float:
    """What Keras's own `compute_loss` makes of the captured batch."""
    batch = lab.batch
    with quiet(lab), keras_private.recompiled(lab.capture.model, loss, weights), lab.model.scope():
        forward = lab.model.forward(batch.x)
        total: Tensor = keras_private.compile_loss(lab.capture.model)(batch.y, forward.y_pred, batch.sample_weight)
        return float(np.sum(lab.number(total))) + sum(float(np.sum(lab.number(one))) for one in forward.losses)


def _kept_by_user(lab: Lab, told: Any, weights: np.ndarray) -> bool:
    """Whether the model keeps these weights itself, under a name of the user's: then it may well apply them itself."""
    flat = set(weights[weights != 1.0].tolist())
    for name, value in vars(lab.capture.model).items():
        if name.startswith("_"):
            continue
        if value is told or isinstance(value, (bool, str)) or not isinstance(value, (int, float, dict, list, tuple)):
            if value is told:
                return True
            continue
        numbers = {float(one) for one in keras.tree.flatten(value) if isinstance(one, (int, float))}
        if flat & numbers:
            return True
    return False
