"""What a trainer does around and in its steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


def build(model: Any, data: tuple[Any, Any, Any]) -> None:
    """Build the model, its losses and metrics for a batch, as `fit` does before its first step."""
    model._symbolic_build(data_batch=data)


def takes_training(model: Any) -> bool:
    """Whether the trainer passes `training=` to the model (keras/src/layers/layer.py)."""
    return bool(model._call_has_training_arg)


@contextmanager
def forward_losses(model: Any, losses: list[Any]) -> Iterator[None]:
    """Inside, `model.losses` gives these of a stateless forward pass (keras/src/backend/jax/trainer.py)."""
    if not losses:
        yield
        return
    model._losses_override.clear()
    model._losses_override = losses
    try:
        yield
    finally:
        model._losses_override.clear()


def use_forward_losses(model: Any, losses: list[Any]) -> None:
    """Hand the losses of a stateless forward pass to `model.losses`, as JAX's trainer does (backend/jax/trainer.py)."""
    model._losses_override = losses


def in_stateless_scope() -> bool:
    """Whether assignments fall into a `keras.StatelessScope` now (keras/src/backend/common/stateless_scope.py)."""
    from keras.src.backend import in_stateless_scope as asked

    return bool(asked())


def steps_hold_the_state(model: Any) -> bool:
    """Whether a training on JAX is between its steps, which carry their own state (backend/jax/trainer.py).

    What is assigned to a variable of the model then is overwritten by the state of the last step.
    """
    return keras.backend.backend() == "jax" and getattr(model, "_jax_state_synced", True) is False


@contextmanager
def values_kept(model: Any) -> Iterator[None]:
    """Inside, a training that fails in its first step leaves the variables their values (backend/jax/trainer.py).

    Keras on JAX takes the values out of the variables while it trains, and loses them if the first step cannot be traced.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    optimizer = getattr(model, "optimizer", None)
    before = [
        (one, one._value) for one in [*model.variables, *model.metrics_variables, *getattr(optimizer, "variables", ())]
    ]
    try:
        yield
    except BaseException:
        for variable, value in before:
            if variable._value is None and value is not None and not value.is_deleted():
                variable._value = value
        raise


def optimized_variables(optimizer: Any) -> list[Any]:
    """The variables that an optimizer was built for (keras/src/optimizers/base_optimizer.py)."""
    inner = getattr(optimizer, "inner_optimizer", None)  # of a LossScaleOptimizer
    return list(getattr(inner if inner is not None else optimizer, "_trainable_variables", None) or ())


def steps_applied(optimizer: Any) -> Any:
    """How many steps an optimizer was given, those whose gradients it only accumulates included, which `iterations` does
    not count (keras/src/optimizers/base_optimizer.py); None where it does not say."""
    return getattr(getattr(optimizer, "inner_optimizer", optimizer), "_iterations", None)


def loss_tracker(model: Any) -> Any:
    """Keras's own `Mean` of the loss, or None (keras/src/trainers/trainer.py)."""
    return getattr(model, "_loss_tracker", None)


def reported_logs(model: Any, logs: Any) -> Any:
    """What `fit` and `evaluate` report of a step that returned `logs` (keras/src/trainers/trainer.py)."""
    return model._get_metrics_result_or_logs(logs)
