"""Importing this registers with Keras everything of ours that a saved Trainer may hold."""

from __future__ import annotations

from lossproof.objective import references, schedules, term, trainer, weighting

__all__ = ["references", "schedules", "term", "trainer", "weighting"]
