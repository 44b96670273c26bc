"""Outputs for which the dict of losses has no entry: the same objective with `None` for them, or with a loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.lab.blind import quiet
from lossproof.lab.failure import in_words, same_failure
from lossproof.lab.lab import Lab
from lossproof.lab.weight_gradients import weight_gradients
from lossproof.lab.wiring.compiled import CompiledObjective, Wired


@dataclass(frozen=True)
class Completed:
    """An objective that Keras refused, with `None` for the outputs that have no loss."""

    without: tuple[str, ...]
    named: tuple[str, ...]
    loss: Any
    """The argument of `compile` with which it runs."""
    targets_changed: bool
    error: str
    total: float


@dataclass(frozen=True)
class Untrained:
    """Outputs with targets and without a loss, and weights that lead to nothing else."""

    names: tuple[str, ...]
    named: tuple[str, ...]
    weights: int
    """How many trainable numbers get no gradient and move these outputs."""
    weights_after: int
    loss: str
    total: float
    after: float
    moved: float
    """The total with a loss, and with these outputs moved away by one."""


def completed(lab: Lab) -> Completed | None:
    """The objective that was refused, with `None` where a loss is missing; None where that does not help."""
    compiled = lab.compiled
    names, told = compiled.outputs.names, compiled.arguments.loss
    named = {key: loss for key, loss in told.items() if loss is not None}
    if not named or any(name is None for name in names) or not set(told) <= set(names) or len(named) == len(names):
        return None
    failure = compiled.failure()
    if failure is None or not same_failure(failure, lab.capture.error):
        return None
    weights = compiled.arguments.loss_weights
    for loss in ([told.get(name) for name in names], {str(name): told.get(name) for name in names}):
        own = {"loss": loss}
        if isinstance(loss, list) and isinstance(weights, dict) and set(weights) <= set(names):
            own["loss_weights"] = [weights.get(name, 1.0) for name in names]
        for changed, y in _targets(compiled, list(named)):
            wired = compiled.attempt({"y": y}, with_metrics=False, **own)
            if wired is not None and len(wired.terms) == len(named):
                without = tuple(str(name) for name in names if name not in named)
                return Completed(
                    without, tuple(map(str, named)), loss, changed, in_words(lab.capture.error), wired.total
                )
    return None


def _targets(compiled: CompiledObjective, named: list[str]) -> Iterator[tuple[bool, Any]]:
    given, names = compiled.given, compiled.outputs.names
    yield False, compiled.targets
    if given.form == "dict":
        by_name = dict(zip(given.names, given.leaves, strict=True))
        if set(named) <= set(by_name):
            kept = [by_name[str(name)] for name in names if name in named]
            yield True, kept
            if len(kept) == 1:
                yield True, kept[0]
    elif given.form == "list" and len(given.leaves) == len(names):
        yield True, [leaf for name, leaf in zip(names, given.leaves, strict=True) if name in named]


def untrained(lab: Lab) -> Untrained | None:
    """Outputs whose targets were passed, that have no loss, and that weights lead to alone; None if there are none."""
    compiled = lab.compiled
    outputs, told = compiled.outputs, compiled.arguments
    if outputs.form != "dict" or compiled.given.form != "dict":
        return None
    asked = {*told.loss, *_keys(told.metrics), *_keys(told.weighted_metrics)}
    names = [str(name) for name in outputs.names if name in compiled.given.names and name not in asked]
    if not names or not set(told.loss) & set(outputs.names):
        return None
    wired: Wired | None = lab.attempt(compiled.evaluate)
    if wired is None or not np.isfinite(wired.total) or any(term.output is None for term in wired.terms):
        return None
    positions = [outputs.names.index(name) for name in names]
    if any(term.output in positions for term in wired.terms) or any(compiled.moves_total(wired, i) for i in positions):
        return None
    dead = _dead(lab.once(weight_gradients))
    leading = [i for i in dead if _moves(lab, i, positions)]
    if not leading:
        return None
    for loss in [one for one in told.loss.values() if one is not None]:
        longer = {**told.loss, **dict.fromkeys(names, loss)}
        with_loss = compiled.attempt(loss=longer, with_metrics=False)
        if with_loss is None:
            continue
        after = lab.attempt(partial(_gradients_with, lab, longer))
        moved = [one.tensor + 1.0 if i in positions else one.tensor for i, one in enumerate(outputs.items)]
        away = keras.tree.pack_sequence_as(compiled.forward.y_pred, moved)
        left = set(_dead(after)) if after is not None else set(dead)
        if not left >= set(leading):  # a bias may still have none, where errors of both signs balance
            return Untrained(
                tuple(names),
                tuple(str(key) for key, one in told.loss.items() if one is not None),
                _numbers(lab, leading),
                _numbers(lab, sorted(left.intersection(leading))),
                compiled.name_of(loss),
                wired.total,
                with_loss.total,
                compiled.evaluate(replace(told, loss=longer), y_pred=away).total,
            )
    return None


def _numbers(lab: Lab, positions: list[int]) -> int:
    return sum(int(np.prod(lab.model.trainable[i].shape)) for i in positions)


def _keys(metrics: Any) -> list[str]:
    return list(metrics) if isinstance(metrics, dict) else []


def _dead(gradients: list[np.ndarray | None]) -> list[int]:
    return [i for i, gradient in enumerate(gradients) if gradient is None or not gradient.any()]


def _moves(lab: Lab, weight: int, positions: list[int]) -> bool:
    """Whether the outputs at these positions move with a trainable weight."""
    weights = list(lab.model.start)
    weights[weight] = weights[weight] + 1.0
    with quiet(lab), lab.model.scope(weights):
        there = keras.tree.flatten(lab.model.forward(lab.batch.x).y_pred)
    with quiet(lab), lab.model.scope():
        here = keras.tree.flatten(lab.model.forward(lab.batch.x).y_pred)
    return any(not np.array_equal(lab.number(here[i]), lab.number(there[i])) for i in positions)


def _gradients_with(lab: Lab, loss: Any) -> list[np.ndarray | None]:
    with keras_private.recompiled(lab.capture.model, loss, lab.compiled.arguments.loss_weights):
        _, found = lab.backend.gradient(lambda *w: lab.model.objective(lab.batch, list(w)), lab.model.start)
    return [None if one is None else lab.number(one) for one in found]
