"""A model whose logs know whether it is evaluated."""

from __future__ import annotations

from typing import Any

import keras

from lossproof.objective.tracking import TermLog


class EvaluatedByObjective(keras.Model):
    """A model that tells its `term_log` when it is evaluated, where gradients have no logs."""

    term_log: TermLog

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """As Keras's own."""
        before, self.term_log.evaluating = self.term_log.evaluating, True
        try:
            return super().test_step(*args, **kwargs)
        finally:
            self.term_log.evaluating = before

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As Keras's own."""
        before, self.term_log.evaluating = self.term_log.evaluating, True
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self.term_log.evaluating = before
