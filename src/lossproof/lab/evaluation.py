"""The captured objective, evaluated once as the script would: what it heard, its total, its penalties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof.lab.backends import running_backend
from lossproof.lab.backends.base import Tensor
from lossproof.lab.listen import Heard, Hearing, listening
from lossproof.lab.model import Forward, Functional
from lossproof.lab.received import Batch
from lossproof.lab.step import run_step


@dataclass(frozen=True)
class Evaluation:
    """One evaluation on the captured batch and weights, in training mode."""

    forward: Forward
    total: float
    losses: tuple[Heard, ...]
    """The calls of `keras.losses.Loss` that had values, not tracers."""
    added: tuple[float, ...]
    """`model.losses` after the forward pass: regularizers and `add_loss`."""


def evaluate(model: Functional, batch: Batch, own_step: bool) -> Evaluation:
    """Evaluate the objective.

    Args:
        model: The captured model.
        batch: What the step received.
        own_step: Whether the user's model has a `train_step` of its own, which is then run.

    Raises:
        Whatever the user's code raises.
    """
    if own_step:
        with model.scope():
            forward = model.forward(batch.x)
            added = _values(forward.losses)
        outcome = run_step(model, batch)
        return Evaluation(forward, sum(outcome.losses), _concrete(outcome.hearing), added)
    with listening() as hearing, model.scope():
        forward = model.forward(batch.x)
        added = _values(forward.losses)
        total = model.compute_loss(batch, forward)
    return Evaluation(forward, float(np.sum(running_backend().numpy(total))), _concrete(hearing), added)


def _values(losses: list[Tensor]) -> tuple[float, ...]:
    return tuple(float(np.sum(running_backend().numpy(loss))) for loss in losses)


def _concrete(hearing: Hearing) -> tuple[Heard, ...]:
    backend = running_backend()

    def has_values(data: Any) -> bool:
        leaves = [leaf for leaf in keras.tree.flatten(data) if backend.is_tensor(leaf)]
        return all(backend.is_concrete(leaf) for leaf in leaves)

    return tuple(one for one in hearing.losses if has_values((one.y_true, one.y_pred, one.sample_weight)))
