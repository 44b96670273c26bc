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
    """All logs of the terms in one state: few updates per step, however many terms.

    Means are weighted by batch size, as Keras weighs the loss. The last weights are kept as sums and a count, so that replicas
    of `tf.distribute`, whose states are summed, report them once. It is a list of metrics to Keras, so that callbacks which
    monitor a term know which way is better.

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
        self.total = self._zeros("total", len(self.terms) + 1)
        self.count = self._zeros("count")
        self.contributed = self._zeros("contributed", len(self.moving) + 1) if self.moving else None
        self.contributed_count = self._zeros("contributed_count") if self.moving else None
        self.latest = self._zeros("latest", len(self.moving)) if self.moving else None
        self.latest_count = self._zeros("latest_count") if self.moving else None
        self.coefficients = self._zeros("coefficients", len(self.combined)) if self.combined else None
        self.coefficients_count = self._zeros("coefficients_count") if self.combined else None

    def _zeros(self, name: str, *shape: int) -> Any:
        return self.add_variable(shape=shape, initializer="zeros", name=name)

    def update_state(self, values: Sequence[Tensor], added: Tensor | None, rows: Tensor) -> None:
        """Take the terms' values of a batch of `rows` samples and the sum of what is added to the loss, None for nothing."""
        if added is not None:
            self.hidden.discard(ADDED)
        self._add(self.total, self.count, [*values, 0.0 if added is None else added], rows)

    def update_weights(self, weights: Sequence[Tensor]) -> None:
        """Take the weights of the moving terms, in their order."""
        if self.latest is not None and self.latest_count is not None:
            self.latest.assign(self._stacked(weights))
            self.latest_count.assign(ops.ones((), dtype=self.dtype))

    def scale_weights(self, factors: Sequence[Tensor]) -> None:
        """Multiply the weights taken last."""
        if self.latest is not None:
            self.latest.assign(ops.convert_to_tensor(self.latest) * self._stacked(factors))

    def update_contributions(self, values: Sequence[Tensor], rest: Tensor | None, rows: Tensor) -> None:
        """Take the moving terms' weighted values of a batch, and what the strategy adds beside them, None for nothing."""
        if rest is not None:
            self.hidden.discard(REST)
        self._add(self.contributed, self.contributed_count, [*values, 0.0 if rest is None else rest], rows)

    def update_coefficients(self, coefficients: Sequence[Tensor]) -> None:
        """Take the coefficients of the combined terms' gradients, in their order."""
        if self.coefficients is not None and self.coefficients_count is not None:
            self.coefficients.assign(self._stacked(coefficients))
            self.coefficients_count.assign(ops.ones((), dtype=self.dtype))

    def _add(self, total: Any, count: Any, values: Sequence[Tensor], rows: Tensor) -> None:
        rows = ops.cast(rows, self.dtype)
        total.assign_add(self._stacked(values) * rows)
        count.assign_add(rows)

    def _stacked(self, values: Sequence[Tensor]) -> Tensor:
        return ops.stop_gradient(ops.stack([ops.cast(value, self.dtype) for value in values]))

    def result(self) -> dict[str, Tensor]:
        """The logs by name."""
        logs = _quotients(self.total, self.count, [*self.terms, ADDED])
        if self.moving:
            logs |= _quotients(self.latest, self.latest_count, [f"{name}_weight" for name in self.moving])
            contributions = [f"{name}_contribution" for name in self.moving]
            logs |= _quotients(self.contributed, self.contributed_count, [*contributions, REST])
        if self.combined and not self.evaluating:  # evaluation has no gradients
            names = [f"{name}_gradient_weight" for name in self.combined]
            logs |= _quotients(self.coefficients, self.coefficients_count, names)
        return {name: value for name, value in logs.items() if name not in self.hidden}

    def reset_state(self) -> None:
        """Begin anew."""
        for variable in self.variables:
            variable.assign(ops.zeros(variable.shape, dtype=self.dtype))


def _quotients(totals: Any, count: Any, names: Sequence[str]) -> dict[str, Tensor]:
    values = ops.divide_no_nan(ops.convert_to_tensor(totals), ops.convert_to_tensor(count))
    return {name: values[k] for k, name in enumerate(names)}


def count_rows(x: Any) -> Tensor:
    """The batch size by which Keras weighs a batch in the mean of the loss: that of the first input."""
    return ops.shape(next(one for one in keras.tree.flatten(x) if one is not None))[0]
