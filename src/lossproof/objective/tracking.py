"""What is logged of the terms: means over the epoch as Keras takes them for the loss, and the last of moving weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

Tensor = Any


class Means(keras.Metric):
    """Several means over the epoch, weighted by batch size, in one state: one update per step, however many terms.

    Args:
        names: What is averaged, in the order of `update_state`.
        name: Name of the metric, which is not logged.
    """

    def __init__(self, names: Sequence[str], name: str) -> None:
        super().__init__(name=name, dtype=keras.config.floatx())
        self.names = tuple(names)
        self.hidden: set[str] = set()
        self.total = self.add_variable(shape=(len(self.names),), initializer="zeros", name="total")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def update_state(self, values: Sequence[Tensor], rows: Tensor) -> None:
        """Take K scalars of a batch of `rows` samples."""
        stacked = ops.stack([ops.cast(value, self.dtype) for value in values])
        rows = ops.cast(rows, self.dtype)
        self.total.assign_add(ops.stop_gradient(stacked) * rows)
        self.count.assign_add(rows)

    def result(self) -> dict[str, Tensor]:
        """The means by name, without hidden ones."""
        means = ops.divide_no_nan(ops.convert_to_tensor(self.total), ops.convert_to_tensor(self.count))
        return {name: means[k] for k, name in enumerate(self.names) if name not in self.hidden}

    def reset_state(self) -> None:
        """Begin anew."""
        self.total.assign(ops.zeros((len(self.names),), dtype=self.dtype))
        self.count.assign(ops.zeros((), dtype=self.dtype))


class Latest(keras.Metric):
    """The last of several values; 0 before the first.

    They are kept as sums and a count, so that replicas of `tf.distribute`, whose states are summed, report them once.

    Args:
        names: What is logged, in the order of `update_state`.
        name: Name of the metric, which is not logged.
    """

    def __init__(self, names: Sequence[str], name: str) -> None:
        super().__init__(name=name, dtype=keras.config.floatx())
        self.names = tuple(names)
        self.total = self.add_variable(shape=(len(self.names),), initializer="zeros", name="total")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def update_state(self, values: Sequence[Tensor]) -> None:
        """Take K scalars."""
        self.total.assign(ops.stop_gradient(ops.stack([ops.cast(value, self.dtype) for value in values])))
        self.count.assign(ops.ones((), dtype=self.dtype))

    def result(self) -> dict[str, Tensor]:
        """The values by name."""
        values = ops.divide_no_nan(ops.convert_to_tensor(self.total), ops.convert_to_tensor(self.count))
        return {name: values[k] for k, name in enumerate(self.names)}

    def reset_state(self) -> None:
        """Forget them."""
        self.total.assign(ops.zeros((len(self.names),), dtype=self.dtype))
        self.count.assign(ops.zeros((), dtype=self.dtype))


def count_rows(x: Any) -> Tensor:
    """The batch size by which Keras weighs a batch in the mean of the loss: that of the first input."""
    return ops.shape(next(one for one in keras.tree.flatten(x) if one is not None))[0]
