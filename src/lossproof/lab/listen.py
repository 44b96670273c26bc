"""Hears which losses and metrics are called while something runs, and what each receives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras

from lossproof.lab.replace import replaced


@dataclass(frozen=True)
class Heard:
    """One call of a loss or of a function metric, with its arguments as they arrived."""

    target: Any
    y_true: Any
    y_pred: Any
    sample_weight: Any
    result: Any = None


@dataclass
class Hearing:
    """The outermost calls, in order."""

    losses: list[Heard] = field(default_factory=list)
    metrics: list[Heard] = field(default_factory=list)


@contextmanager
def listening(shift: Mapping[int, float] | None = None, metrics: Sequence[Any] = ()) -> Iterator[Hearing]:
    """Inside, calls of `keras.losses.Loss` and of `keras.metrics.MeanMetricWrapper` are noted; they run as always.

    Args:
        shift: What to add to the value that the loss called first (0), second (1), ... returns; nothing by default.
        metrics: Other metrics whose updates are noted as well.
    """
    hearing = Hearing()
    depth = 0
    loss_class, metric_class = keras.losses.Loss, keras.metrics.MeanMetricWrapper
    call, update = loss_class.__call__, metric_class.update_state

    def heard_call(self: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        nonlocal depth
        depth += 1
        try:
            result = call(self, y_true, y_pred, sample_weight)
        finally:
            depth -= 1
        if depth == 0:
            added = (shift or {}).get(len(hearing.losses))
            hearing.losses.append(Heard(self, y_true, y_pred, sample_weight, result))
            if added is not None:
                return result + added
        return result

    def heard_update(self: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        hearing.metrics.append(Heard(self, y_true, y_pred, sample_weight))
        return update(self, y_true, y_pred, sample_weight)

    def heard_own(metric: Any) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def update_own(y_true: Any, y_pred: Any, sample_weight: Any = None, **named: Any) -> Any:
                hearing.metrics.append(Heard(metric, y_true, y_pred, sample_weight))
                weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
                return original(y_true, y_pred, **weighted, **named)

            return update_own

        return make

    loss_class.__call__, metric_class.update_state = heard_call, heard_update
    try:
        with ExitStack() as stack:
            for metric in metrics:
                stack.enter_context(replaced(metric, "update_state", heard_own(metric)))
            yield hearing
    finally:
        loss_class.__call__, metric_class.update_state = call, update
