"""What `compile` has made of its arguments."""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def compile_config(model: Any) -> dict[str, Any]:
    """The arguments of the last `compile`, as objects (keras/src/trainers/trainer.py); empty for a model of 3.x that
    does not keep them."""
    kept = getattr(model, "_compile_config", None)
    return dict(kept.config) if kept is not None else {}


def compile_arguments(model: Any) -> dict[str, Any]:
    """The loss, its weights and the metrics that are in force, as the user wrote them (trainers/compile_utils.py)."""
    loss, metrics = compile_loss(model), compile_metrics(model)
    return {
        "loss": getattr(loss, "_user_loss", None),
        "loss_weights": getattr(loss, "_user_loss_weights", None),
        "metrics": getattr(metrics, "_user_metrics", None),
        "weighted_metrics": getattr(metrics, "_user_weighted_metrics", None),
    }


def compile_loss(model: Any) -> Any:
    """The `CompileLoss` that `compile(loss=...)` made, or None (keras/src/trainers/trainer.py)."""
    return getattr(model, "_compile_loss", None)


def flat_losses(model: Any) -> list[tuple[tuple[Any, ...], Any, Any, str]]:
    """(path, loss, loss weight, name) of each compiled loss, once built (keras/src/trainers/compile_utils.py)."""
    return [tuple(one) for one in getattr(compile_loss(model), "_flat_losses", None) or ()]


def compiled_total(model: Any, arguments: dict[str, Any], batch: Any, y_pred: Any) -> Any:
    """The compiled loss built anew from the arguments of `compile` (keras/src/trainers/compile_utils.py)."""
    from keras.src.trainers.compile_utils import CompileLoss

    names = getattr(model, "output_names", None)
    fresh = CompileLoss(arguments.get("loss"), arguments.get("loss_weights"), output_names=names)
    return fresh(batch.y, y_pred, batch.sample_weight)


@contextmanager
def recompiled(model: Any, loss: Any, loss_weights: Any) -> Iterator[None]:
    """Inside, the model holds a fresh `CompileLoss` of these arguments, as `compile` makes it (trainers/trainer.py)."""
    from keras.src.trainers.compile_utils import CompileLoss

    before = compile_loss(model)
    fresh = CompileLoss(loss, loss_weights, output_names=getattr(model, "output_names", None))
    vars(model)["_compile_loss"] = fresh  # past the tracking of attributes, which would keep it
    try:
        yield
    finally:
        vars(model)["_compile_loss"] = before


@contextmanager
def without_compile_config() -> Iterator[None]:
    """Inside, models are saved without what they were compiled with (trainers/trainer.py)."""
    from keras.src.trainers.trainer import Trainer

    original = Trainer.get_compile_config
    Trainer.get_compile_config = lambda _: None
    try:
        yield
    finally:
        Trainer.get_compile_config = original


def compile_metrics(model: Any) -> Any:
    """The `CompileMetrics` that `compile(metrics=...)` made, or None."""
    return getattr(model, "_compile_metrics", None)


def metric_function(metric: Any) -> Any:
    """The function behind a `MeanMetricWrapper` (keras/src/metrics/reduction_metrics.py)."""
    return getattr(metric, "_fn", None)


def update_fresh_metrics(model: Any, metrics: Any, weighted_metrics: Any, batch: Any, y_pred: Any) -> None:
    """Show a batch to a fresh `CompileMetrics` of these arguments (trainers/compile_utils.py)."""
    from keras.src.trainers.compile_utils import CompileMetrics

    fresh = CompileMetrics(metrics, weighted_metrics, output_names=getattr(model, "output_names", None))
    fresh.update_state(batch.y, y_pred, sample_weight=batch.sample_weight)


def metrics_list() -> Any:
    """The class of a metric that stands for several, in which callbacks look up what they monitor (compile_utils.py)."""
    from keras.src.trainers.compile_utils import MetricsList

    return MetricsList


def monitored(name: str, falls: bool) -> Any:
    """What a callback finds of a log in a `MetricsList`: its name, and which way is better (callbacks/monitor_callback.py)."""
    return types.SimpleNamespace(name=name, _direction="down" if falls else "up")
