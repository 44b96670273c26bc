"""A Trainer that trains on the objective of another one."""

from __future__ import annotations

from typing import Any

from lossproof.objective.objective import Objective
from lossproof.objective.trainer import Trainer
from lossproof.objective.weights import weight_now

Tensor = Any


class Exchanged:
    """The forward pass and the loss of a trainer with another's objective; its variables and logs stay its own.

    Args:
        trainer: Trains on.
        other: Whose terms are taken, over the layers of `trainer` by their names.

    Raises:
        ValueError: A strategy weighs the terms of either: its variables belong to its own optimizer.
        Whatever a term raises that refers to what the model of `trainer` has not.
    """

    def __init__(self, trainer: Trainer, other: Trainer) -> None:
        if trainer.weighting is not None or other.weighting is not None:
            raise ValueError("a weighting strategy cannot be exchanged")
        try:
            objective = Objective.from_config(other.objective.get_config(other.model))
        except Exception:  # a closure, which no file can hold: it may still be called
            objective = other.objective
        self._trainer = trainer
        self._terms = Trainer(trainer.model, objective)
        # Past the tracking of attributes.
        self._terms.__dict__ |= {"batches": trainer.batches, "optimizer": trainer.optimizer}

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """See `Trainer.call`."""
        return self._terms.call(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """See `Trainer.compute_loss`."""
        added = sum(self._trainer.losses) if self._trainer.losses else None
        values = self._terms.term_values(x, y, y_pred, sample_weight, training)
        step = self._trainer.steps_made()
        total = sum(values[one.name] * weight_now(one.weight, step) for one in self._terms.objective)
        if training:
            self._trainer.batches.assign_add(1)
        return total if added is None else total + added
