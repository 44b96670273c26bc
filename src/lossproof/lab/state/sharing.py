"""Weights that a model shares with another one that was trained before it."""

from __future__ import annotations

from lossproof.capture.record import Training
from lossproof.lab.lab import Lab


def shared_positions(lab: Lab, other: Training) -> dict[int, int]:
    """Position among this model's trainable weights -> position among those of an earlier training, where shared."""
    theirs = {id(variable()): i for i, variable in enumerate(other.variables) if variable() is not None}
    return {i: theirs[id(variable)] for i, variable in enumerate(lab.model.trainable) if id(variable) in theirs}


def shared_weights(lab: Lab, other: Training) -> int:
    """How many trainable weights this model shares with an earlier training."""
    return len(shared_positions(lab, other))


def total_with_shared(lab: Lab, other: Training) -> float | None:
    """The objective with the shared weights as they were when the other training began."""
    if other.began_trainable is None:
        return None
    weights = list(lab.model.start)
    for mine, theirs in shared_positions(lab, other).items():
        weights[mine] = lab.backend.tensor(other.began_trainable[theirs])
    return float(lab.number(lab.model.objective(lab.batch, weights)))
