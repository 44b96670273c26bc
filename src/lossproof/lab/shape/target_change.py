"""What an objective makes of its targets as the user passed them, against what it makes of those that arrive."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event
from lossproof.lab.subject import LossSubject, Subject

Kind = Literal["value", "neighbours", "rounded", "arithmetic"]


@dataclass(frozen=True)
class ChangedTargets:
    """An objective whose value is another one with the targets that were passed."""

    subject: Subject
    kind: Kind
    """`value`: the numbers are others when they arrive; `neighbours`: so much so that targets cannot be told from the
    next ones; `rounded`: so much so that more is lost than is left of how targets differ, whatever the loss makes of them
    (`before`, `after` and `shifted` then count different targets); `arithmetic`: the numbers are the same, but arithmetic
    in their dtype wraps around."""
    passed: str
    received: str
    """Dtypes."""
    before: float
    """The objective of the targets that arrive."""
    after: float
    """The same of those that were passed, computed exactly (float64, or another wider dtype)."""
    shifted: float | None
    """The same in the received dtype, of targets and predictions less the mean of the targets."""
    changed: int
    """How many numbers are others when they arrive."""
    of: int
    examples: tuple[tuple[float, float], ...]
    """A few of them: as passed, as received."""
    lost: float
    """The largest change of a target."""
    spread: float
    """The standard deviation of the targets."""
    event: Event | None


def changed_targets(lab: Lab, subject: Subject) -> ChangedTargets | None:
    """The proof that the targets' way into an objective changes its value; None where it does not.

    Half precision is another rule's matter, and nothing is said of a loss that cannot be computed in a wider dtype.
    """
    from lossproof.lab.shape.target_arithmetic import in_arithmetic
    from lossproof.lab.shape.target_cast import in_loss

    if isinstance(subject, LossSubject):
        found: ChangedTargets | None = lab.attempt(partial(in_loss, lab, subject))
        return found
    wrapped: ChangedTargets | None = lab.attempt(partial(in_arithmetic, lab, subject))
    return wrapped


def numbers_of(exact: np.ndarray, arrived: np.ndarray) -> dict[str, Any]:
    """How many numbers are others, which, and by how much, as fields of `ChangedTargets`."""
    others = np.flatnonzero(exact.ravel() != arrived.ravel())
    size = np.abs(exact.ravel() - arrived.ravel())
    worst = others[np.argsort(-size[others], kind="stable")][:3]
    return {
        "changed": len(others),
        "of": exact.size,
        "examples": tuple((float(exact.ravel()[i]), float(arrived.ravel()[i])) for i in worst),
        "lost": float(size.max(initial=0.0)),
        "spread": float(np.std(exact)),
    }
