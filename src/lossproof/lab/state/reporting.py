"""What Keras reports of a step, and which metrics hold it: run eagerly on the captured batch, and put back.

A step is run from the reset state of every metric, so that what is left unchanged was not updated, and what is left
changed by `model.reset_metrics()` was not reset.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.copies import copies, copy_of
from lossproof.lab.backends import running_backend
from lossproof.lab.lab import Lab
from lossproof.lab.noise import differs
from lossproof.lab.received import Batch
from lossproof.lab.step import StepOutcome, jax_state, observed
from lossproof.lab.subject import StatefulMetricSubject, take
from lossproof.rules.rule import NotApplicable

Kind = Literal["train", "test"]


@dataclass(frozen=True)
class Holder:
    """A metric that a step updated."""

    metric: Any
    name: str
    listed: bool
    """Whether it is among `model.metrics`, which are reset, and reported where the step's own logs are not."""
    result: float
    own: bool
    """Whether it is the user's, not one that `compile` made."""


@dataclass(frozen=True)
class Reported:
    """One or more steps, from metrics that were all reset."""

    returned: dict[str, float]
    """What the last step returned."""
    reported: dict[str, float]
    """What Keras makes of it for the history, the bar and callbacks."""
    updated: tuple[Holder, ...]
    differentiated: tuple[float, ...] = ()
    """The scalars that the last step differentiated."""
    unchanged: tuple[str, ...] = field(default=())
    """The names under which `model.metrics` report metrics that the steps did not update."""


def in_halves(lab: Lab) -> tuple[Batch, Batch]:
    """The captured batch in two halves.

    Raises:
        NotApplicable: It has but one row.
    """
    batch = lab.batch
    leaves = [leaf for leaf in keras.tree.flatten((batch.x, batch.y)) if hasattr(leaf, "shape") and len(leaf.shape)]
    rows = int(leaves[0].shape[0]) if leaves else 0
    if rows < 2:
        raise NotApplicable("the captured batch has one row")

    def part(index: np.ndarray) -> Batch:
        return Batch(*(take(data, index) for data in (batch.x, batch.y, batch.sample_weight)))

    return part(np.arange(rows // 2)), part(np.arange(rows // 2, 2 * (rows // 2)))


def report(lab: Lab, kind: Kind, batches: Sequence[Batch], reset: Literal["model", "all"] | None = None) -> Reported:
    """Run a step on some batches.

    Args:
        lab: The laboratory.
        kind: `train_step` or `test_step`.
        batches: What the steps receive.
        reset: What happens before the last of them: `model.reset_metrics()`, as at the begin of an epoch; after it the
            reset of every other metric as well; or nothing.

    Raises:
        Whatever the user's step raises.
    """
    model, backend = lab.capture.model, running_backend()
    metrics = every_metric(model)
    outcome = StepOutcome()
    with _metrics_restored(metrics), observed(lab.model, outcome):
        for metric in metrics:
            metric.reset_state()
        start = {id(metric): copies(metric.variables) for metric in metrics}
        logs: Any = {}
        for i, batch in enumerate(batches):
            if reset is not None and i == len(batches) - 1:
                model.reset_metrics()
                for metric in metrics if reset == "all" else ():
                    metric.reset_state()
            outcome.losses.clear()
            logs = _step(model, kind, _as_data(batch))
        listed = {id(one) for one in _flat(model.metrics)}
        reported = _numbers(keras_private.reported_logs(model, logs))
        returned = _numbers(logs)
        changed = [one for one in metrics if not _same(start[id(one)], copies(one.variables))]
        made = {id(one) for one in _made_by_compile(model)}
        holders = tuple(
            Holder(one, one.name, id(one) in listed, _number(backend.numpy(one.result())), id(one) not in made)
            for one in changed
            if _is_scalar(one)
        )
        touched = {id(one) for one in changed}
        names: dict[str, Any] = {one.name: one for one in _flat(model.metrics)}
        unchanged = tuple(
            name for name, one in names.items() if name in reported and one.variables and id(one) not in touched
        )
    return Reported(returned, reported, holders, tuple(outcome.losses), unchanged)


def reported(
    lab: Lab, kind: Kind, halves: bool = False, reset: Literal["model", "all"] | None = None
) -> Reported | None:
    """What Keras reports of a step on the captured batch (or on its halves in turn); None where it cannot be run.

    See `report`.
    """
    ran: Reported | None = lab.attempt(lambda: report(lab, kind, in_halves(lab) if halves else (lab.batch,), reset))
    return ran


def evaluated(lab: Lab) -> bool:
    """Whether the script evaluates this model: on its own, or in the captured `fit`."""
    data, model = lab.capture.data, lab.capture.model
    if data.get("validation_data") is not None or data.get("validation_split"):
        return True
    return any(one.call in ("evaluate", "test_on_batch") and one.model is model for one in lab.run.captures)


def compiled_total(lab: Lab) -> float:
    """What `compute_loss` makes of the captured batch, whatever a step of the user's does."""
    with lab.undisturbed(), lab.model.scope():
        total = lab.model.compute_loss(lab.batch, lab.model.forward(lab.batch.x))
        return float(np.sum(lab.number(total)))


def compiled_metrics(lab: Lab) -> dict[str, float]:
    """The results of the metrics given to `compile` on the captured batch alone."""
    compiled = keras_private.compile_metrics(lab.capture.model)

    def experiment() -> dict[str, float]:
        compiled.reset_state()
        batch, y_pred = lab.batch, lab.forward.y_pred
        compiled.update_state(batch.y, y_pred, sample_weight=batch.sample_weight)
        results = {name: lab.number(value) for name, value in compiled.result().items()}
        return {name: float(value.reshape(())) for name, value in results.items() if value.size == 1}

    if compiled is None:
        return {}
    with lab.undisturbed(), lab.model.scope(collect=False):
        return lab.attempt(experiment) or {}


def every_metric(model: Any) -> list[Any]:
    """Every metric that exists: one that a step updates may hang anywhere."""
    kind = keras.metrics.Metric
    found = {id(one): one for one in gc.get_objects() if issubclass(type(one), kind)}
    found.update({id(one): one for one in _flat(model.metrics)})
    containers = {id(one) for one in (keras_private.compile_metrics(model), keras_private.compile_loss(model))}
    return [one for key, one in found.items() if key not in containers and getattr(one, "built", True) and _usable(one)]


def unlisted_in_layers(model: Any) -> bool:
    """Whether a layer, or a model within the model, holds metrics that `model.metrics` does not list."""
    listed = {id(one) for one in _flat(model.metrics)}
    inner = [one for layer in keras_private.layers_of(model) if layer is not model for one in _flat(layer.metrics)]
    return any(id(one) not in listed for one in inner)


def _usable(metric: Any) -> bool:
    # A metric that was never initialised (a class whose __init__ failed) or is a container has no state of its own.
    return "_variables" in vars(metric) and bool(vars(metric)["_variables"])


def _flat(metrics: Sequence[Any]) -> Iterator[Any]:
    for metric in metrics:
        inner = getattr(metric, "metrics", None)  # some of a list of metrics are names alone, without a state
        if isinstance(inner, list) and all(isinstance(one, keras.metrics.Metric) for one in inner):
            yield from _flat(inner)
        else:
            yield metric


def _made_by_compile(model: Any) -> Iterator[Any]:
    own = [keras_private.loss_tracker(model), keras_private.compile_metrics(model)]
    yield from _flat([one for one in own if one is not None])
    yield from _flat(list(getattr(keras_private.compile_loss(model), "metrics", None) or ()))


@contextmanager
def _metrics_restored(metrics: Sequence[Any]) -> Iterator[None]:
    variables = list({id(v): v for metric in metrics for v in metric.variables}.values())
    before = [(variable, value) for variable in variables if (value := _readable(variable)) is not None]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def _readable(variable: Any) -> np.ndarray | None:
    try:
        return copy_of(variable)
    except Exception:  # a value that a traced step left behind
        return None


def _step(model: Any, kind: Kind, data: Any) -> Any:
    step = model.train_step if kind == "train" else model.test_step
    if running_backend().name != "jax":
        return step(data)
    groups = jax_state(model)
    logs, state = step(groups if kind == "train" else (groups[0], groups[1], groups[3]), data)
    for variable, value in zip(model.metrics_variables, state[-1], strict=False):
        variable.assign(value)
    return logs


def _as_data(batch: Batch) -> Any:
    parts = [batch.x, batch.y, batch.sample_weight]
    while parts and parts[-1] is None:
        parts.pop()
    return tuple(parts) if len(parts) > 1 else parts[0]


def _numbers(logs: Any) -> dict[str, float]:
    if not isinstance(logs, dict):
        return {}
    backend = running_backend()
    numbers = {}
    for name, value in logs.items():
        array = np.asarray(backend.numpy(value) if backend.is_tensor(value) else value)
        if array.dtype.kind in "biuf" and array.size == 1:
            numbers[name] = float(array.reshape(()))
    return numbers


def _number(array: Any) -> float:
    return float(np.asarray(array, dtype="float64").reshape(-1)[0])


def _is_scalar(metric: Any) -> bool:
    try:
        result = metric.result()
        return not isinstance(result, dict) and int(np.size(running_backend().numpy(result))) == 1
    except Exception:  # a metric that has no result yet, or one of several values
        return False


def _same(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> bool:
    return len(before) == len(after) and all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def update_after_reset(lab: Lab) -> list[tuple[Any, float, float]]:
    """Each metric of a user's class whose `reset_state` leaves something: (metric, first, second result).

    Both results are those of the second half of the batch after a reset; before the second, the first half was seen.
    """
    found = []
    for subject in lab.metrics:
        if not isinstance(subject, StatefulMetricSubject) or subject.batch_size < 2:
            continue
        half = subject.batch_size // 2
        first, second = subject.rows(np.arange(half)), subject.rows(np.arange(half, 2 * half))

        def results(a: StatefulMetricSubject = first, b: StatefulMetricSubject = second) -> tuple[float, float] | None:
            before = lab.number(b.total())
            a.total()
            after = lab.number(b.total())
            return (float(before), float(after)) if before.size == after.size == 1 else None

        with lab.undisturbed(), lab.model.scope(collect=False):
            pair = lab.attempt(results)
        if pair is not None:
            found.append((subject.metric, *pair))
    return found


@dataclass(frozen=True)
class Scale:
    """How many times the objective is what a step reports as its loss, and what it differentiates."""

    reported: float
    differentiated: float
    by_optimizer: float | None
    """By how much `optimizer.scale_loss` multiplies; None where it does not."""


def scale_of_report(lab: Lab) -> Scale | None:
    """The scale, where it is the same on both halves of the batch to a few units in the last place."""
    ratios = []
    for half in in_halves(lab):
        ran = report(lab, "train", (half,))
        with lab.model.scope():
            total = float(lab.number(lab.model.compute_loss(half, lab.model.forward(half.x))).sum())
        if "loss" not in ran.reported or len(ran.differentiated) != 1 or not np.isfinite(total) or total == 0.0:
            return None
        ratios.append((ran.reported["loss"] / total, ran.differentiated[0] / total))
    (first, one), (second, two) = ratios
    if differs(first, second, "float32", 2**16) or differs(one, two, "float32", 2**16) or first == 0.0:
        return None
    optimizer = lab.capture.model.optimizer
    scaled = optimizer.scale_loss(running_backend().tensor(np.float32(1.0))) if optimizer is not None else None
    by = None if scaled is None else _number(running_backend().numpy(scaled))
    return Scale(first, one, by if by is not None and by != 1.0 else None)
