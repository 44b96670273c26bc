"""What is logged of an objective: means over the epoch as Keras takes them for the loss, and the last of moving weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from lossproof import keras_private

Tensor = Any

_MetricsList: Any = keras_private.metrics_list()

ADDED = "regularization"
REST = "weighting_rest"


class TermLog(_MetricsList):
    """All logs of the terms in two variables: one or two updates per step, however many terms.

    Means are weighted by batch size, as Keras weighs the loss. Weights and coefficients are those of the last step; they are
    kept as sums and a count, so that replicas of `tf.distribute`, whose states are summed, report them once. It is a list of
    metrics to Keras, so that callbacks which monitor a term know which way is better.

    Args:
        terms: The names of the terms.
        moving: Those whose weight changes.
        rising: Those that are to rise: their weight is negative.
        combined: Those whose gradients a strategy sums by coefficients of its own.
    """

    def __init__(
        self, terms: Sequence[str], moving: Sequence[str], rising: Sequence[str] = (), combined: Sequence[str] = ()
    ) -> None:
        super().__init__([keras_private.monitored(name, name not in rising) for name in terms], name="objective")
        self.terms, self.moving, self.combined = tuple(terms), tuple(moving), tuple(combined)
        self.evaluating = False
        self.hidden = {ADDED, REST}
        contributions = [*(f"{name}_contribution" for name in moving), REST] if moving else []
        self.averaged = (*terms, ADDED, *contributions)
        self.last = (*(f"{name}_weight" for name in moving), *(f"{name}_gradient_weight" for name in combined))
        # The last entries are the counts: samples, and 1 for each replica.
        self.sums = self._zeros("sums", len(self.averaged) + 1)
        self.latest = self._zeros("latest", len(self.last) + 1) if self.last else None

    def _zeros(self, name: str, size: int) -> Any:
        return self.add_variable(shape=(size,), initializer="zeros", name=name)

    def update_state(
        self,
        values: Sequence[Tensor],
        added: Tensor | None,
        contributions: Sequence[Tensor],
        rest: Tensor | None,
        rows: Tensor,
    ) -> None:
        """Take what a batch gave.

        Args:
            values: The terms' values.
            added: The sum of what is added to the loss; None for nothing.
            contributions: The moving terms' weighted values, in their order.
            rest: What the strategy adds beside them; None for nothing.
            rows: The number of samples.
        """
        if added is not None:
            self.hidden.discard(ADDED)
        if rest is not None:
            self.hidden.discard(REST)
        beside = [*contributions, 0.0 if rest is None else rest] if self.moving else []
        sums = self._stacked([*values, 0.0 if added is None else added, *beside, 1.0])
        self.sums.assign_add(sums * (rows if isinstance(rows, int) else ops.cast(rows, self.dtype)))

    def update_latest(self, weights: Sequence[Tensor], coefficients: Sequence[Tensor]) -> None:
        """Take the weights of the moving terms and the coefficients of the combined terms' gradients, in their orders."""
        if self.latest is not None:
            self.latest.assign(self._stacked([*weights, *coefficients, 1.0]))

    def _stacked(self, values: Sequence[Tensor]) -> Tensor:
        return ops.stop_gradient(keras_private.stack([ops.cast(value, self.dtype) for value in values]))

    def result(self) -> dict[str, Tensor]:
        """The logs by name."""
        logs = _quotients(self.sums, self.averaged)
        if self.latest is not None:
            logs |= _quotients(self.latest, self.last)
        hidden = set(self.hidden)
        if self.evaluating:  # which has no gradients
            hidden |= {f"{name}_gradient_weight" for name in self.combined}
        return {name: value for name, value in logs.items() if name not in hidden}

    def reset_state(self) -> None:
        """Begin anew."""
        for variable in self.variables:
            variable.assign(ops.zeros(variable.shape, dtype=self.dtype))


def _quotients(sums: Any, names: Sequence[str]) -> dict[str, Tensor]:
    """Each entry over the last one, by name."""
    sums = ops.convert_to_tensor(sums)
    return dict(zip(names, ops.unstack(ops.divide_no_nan(sums, sums[-1]), len(names) + 1), strict=False))


def count_rows(x: Any) -> Tensor:
    """The batch size by which Keras weighs a batch in the mean of the loss: that of the first input."""
    return ops.shape(next(one for one in keras.tree.flatten(x) if one is not None))[0]
