"""Whether code that fails under tracing works on plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.capture.place import place_of_traceback
from lossproof.findings.finding import Place
from lossproof.lab.backends.base import Tensor
from lossproof.lab.execution.following import mode_of, state_of
from lossproof.lab.execution.staging import open_rows
from lossproof.lab.lab import Lab
from lossproof.lab.places import place_of_failure
from lossproof.lab.received import Batch
from lossproof.lab.step import rehearsed, run_step
from lossproof.lab.wiring.compiled import CompiledObjective
from lossproof.rules.rule import NotApplicable


@dataclass(frozen=True)
class Untraceable:
    """An objective that has a value on plain tensors and raises when it is traced."""

    value: float
    """The objective on values; for a metric, its own."""
    error: Exception
    """What tracing raises."""
    where: Place | None
    """The user's expression that raises it."""
    part: str
    """`objective`, `train_step` or `metric`."""
    tracing: str
    """`graph`, `jit` or `autodiff`: what the traced run is traced for."""


def untraceable(lab: Lab) -> Untraceable | None:
    """The proof that the captured call failed because its code cannot be traced; None where that is not so.

    Tracing must fail at the same expression with the same type of exception as the captured call did, and the same
    code must give a finite value on concrete tensors that no autodiff follows.
    """
    compiled = CompiledObjective(lab)
    batch = compiled.received()
    _ = lab.model.state  # read before anything is traced
    parts = [_step(lab, batch)] if lab.overrides_train_step else [_objective(lab, batch)]
    parts += _metrics(lab, compiled, batch)
    for part, plain, traced in parts:
        for tracing, run in traced.items():
            error = _raised(run)
            if error is None or not _same(lab, error):
                continue
            value = lab.attempt(plain)
            if value is not None and np.isfinite(value):
                return Untraceable(value, error, place_of_traceback(error.__traceback__), part, tracing)
    return None


def first_failure(lab: Lab) -> Exception | None:
    """What the first step of a training would raise: on values, or while it is traced; None if nothing."""
    batch = CompiledObjective(lab).received()
    _ = lab.model.state
    _, plain, traced = _step(lab, batch) if lab.overrides_train_step else _objective(lab, batch)
    for run in (*traced.values(), plain):
        error = _raised(run)
        if error is not None:
            return error
    return None


_Part = tuple[str, Callable[[], float], dict[str, Callable[[], Any]]]


def _objective(lab: Lab, batch: Batch) -> _Part:
    def total(x: Any, y: Any, sample_weight: Any) -> Tensor:
        with lab.model.scope():
            return lab.model.compute_loss(Batch(x, y, sample_weight), lab.model.forward(x))

    def plain() -> float:
        with lab.undisturbed():
            return float(np.sum(lab.number(total(batch.x, batch.y, batch.sample_weight))))

    runs: dict[str, Callable[[], Any]] = {}
    mode = mode_of(lab)
    if mode != "eager":
        runs[mode] = partial(_staged, lab, total, batch)
    if lab.capture.training and lab.backend.name != "tensorflow":  # a tape never hides the values

        def differentiated() -> Any:
            with lab.undisturbed():
                return lab.backend.gradient(lambda *weights: lab.model.objective(batch, list(weights)), lab.model.start)

        runs["autodiff"] = differentiated
    return "objective", plain, runs


def _step(lab: Lab, batch: Batch) -> _Part:
    model = lab.capture.model

    def plain() -> float:
        with lab.backend.lenient_conversions():
            losses = run_step(lab.model, batch).losses
        return float(sum(losses)) if losses else 0.0

    runs: dict[str, Callable[[], Any]] = {}
    mode = mode_of(lab)
    if mode != "eager":

        def staged() -> Any:
            with lab.undisturbed(), rehearsed(lab.model):
                if lab.backend.name == "jax":
                    return lab.backend.stages(model.train_step, mode)(state_of(model), _data(batch))
                return _staged(lab, lambda *parts: model.train_step(_data(Batch(*parts))), batch)

        runs[mode] = staged
    if lab.backend.name != "tensorflow":
        runs["autodiff"] = lambda: run_step(lab.model, batch)
    return "train_step", plain, runs


def _metrics(lab: Lab, compiled: CompiledObjective, batch: Batch) -> list[_Part]:
    """The functions among the metrics of a model with one output."""
    told = compiled.arguments
    try:
        y_pred = compiled.forward.y_pred
    except NotApplicable:
        return []
    functions = [one for one in keras.tree.flatten([told.metrics, told.weighted_metrics]) if _is_function(one)]
    if not functions or keras.tree.is_nested(y_pred) or keras.tree.is_nested(batch.y):
        return []
    parts: list[_Part] = []
    for function in functions:

        def plain(function: Any = function) -> float:
            with lab.undisturbed():
                return float(np.mean(lab.number(keras.ops.convert_to_tensor(function(batch.y, y_pred)))))

        def staged(function: Any = function) -> Any:
            return lab.backend.stepped(function, mode_of(lab), [batch.y, y_pred], open_rows(lab))(batch.y, y_pred)

        if mode_of(lab) != "eager":
            parts.append(("metric", plain, {mode_of(lab): staged}))
    return parts


def _is_function(one: Any) -> bool:
    return callable(one) and not isinstance(one, (keras.metrics.Metric, keras.losses.Loss, type))


def _staged(lab: Lab, function: Callable[..., Any], batch: Batch) -> Any:
    """`function(x, y, sample_weight)` traced as a step that receives the batch."""
    data = (batch.x, batch.y, batch.sample_weight)
    flat = keras.tree.flatten(data)
    positions = [i for i, leaf in enumerate(flat) if lab.backend.is_tensor(leaf)]
    examples = [flat[i] for i in positions]

    def traced(*tensors: Tensor) -> Any:
        leaves = list(flat)
        for i, tensor in zip(positions, tensors, strict=True):
            leaves[i] = tensor
        result = function(*keras.tree.pack_sequence_as(data, leaves))
        return [leaf for leaf in keras.tree.flatten(result) if lab.backend.is_tensor(leaf)]

    with lab.undisturbed():
        return lab.backend.stepped(traced, mode_of(lab), examples, open_rows(lab))(*examples)


def _data(batch: Batch) -> Any:
    parts = [batch.x, batch.y, batch.sample_weight]
    while len(parts) > 1 and parts[-1] is None:
        parts.pop()
    return tuple(parts) if len(parts) > 1 else parts[0]


def _raised(run: Callable[[], Any]) -> Exception | None:
    try:
        run()
    except NotApplicable:
        return None
    except Exception as error:  # what it is, is the answer
        return error
    return None


def _same(lab: Lab, error: Exception) -> bool:
    """Whether it is what stopped the script: of the same type, raised by the same expression of the user's."""
    here, there = place_of_traceback(error.__traceback__), lab.once(place_of_failure)
    if here is None or there is None or type(error) is not type(lab.capture.error):
        return False
    return (here.file, here.line, here.column) == (there.file, there.line, there.column)
