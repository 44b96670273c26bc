"""Targets and sample weights as Keras's own metrics expect them: by output."""

from __future__ import annotations

from typing import Any

from lossproof.objective.naming import Named
from lossproof.objective.targets import named_weights


def by_output(y_pred: Any, outputs: Named, targets: Named, names: list[str] | None) -> Any:
    """The targets in the structure of the outputs; None for an output without a target.

    An output has the target of its name. A single target that has the name of no output is that of every output, so that
    metrics act on the outputs for which they were asked.
    """
    if not targets:
        return None
    only = next(iter(targets.values())) if len(targets) == 1 and not set(targets) & set(outputs) else None
    found = {name: targets.get(name, only) for name in outputs}
    return _packed(y_pred, found, names)


def weights_by_output(y_pred: Any, sample_weight: Any, outputs: Named, targets: Named, names: list[str] | None) -> Any:
    """The sample weights in the structure of the outputs; one array stays one."""
    weights = named_weights(sample_weight, list(targets))
    if not isinstance(weights, dict):
        return weights
    only = next(iter(weights.values())) if len(weights) == 1 and not set(weights) & set(outputs) else None
    return _packed(y_pred, {name: weights.get(name, only) for name in outputs}, names)


def _packed(y_pred: Any, found: dict[str, Any], names: list[str] | None) -> Any:
    if len(found) == 1:
        return next(iter(found.values()))
    # By name, where Keras knows the names; else by position.
    return found if isinstance(y_pred, dict) or names is not None else list(found.values())
