"""How an objective of several parts goes on from where its training began. Free of any backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lossproof.ledger.entry import Entry


@dataclass(frozen=True)
class Course:
    """The account of the captured batch, the first steps of the training, and weights as they are scheduled for all of it."""

    batch: Entry
    entries: tuple[Entry, ...]
    """The account of each step, with the gradients of its parts; `step` counts from 0."""
    unseen: str = ""
    """Why there are none."""
    at: tuple[int, ...] = ()
    """Steps, evenly spread over the training as the script asks for it."""
    schedules: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """By term, its weight at each of these; only of terms whose weight is a schedule that moves."""
