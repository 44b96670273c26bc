"""What shape a loss returns for a batch of known size, where a compiled step of TensorFlow does not know its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

ROWS = 7
"""A batch size that no other axis is likely to have."""


class _Called(keras.Operation):
    """A function of targets and predictions, for Keras's symbolic evaluation."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The function's values."""
        return self.function(y_true, y_pred)


def shape_for(
    function: Callable[[Any, Any], Any], y_true: Any, y_pred: Any, rows: int = ROWS
) -> tuple[Any, ...] | None:
    """The shape of the values for a batch of `rows`; None where it cannot be told. Nothing is computed.

    Args:
        function: Takes targets and predictions, structures of tensors.
        y_true: Targets, of which only shapes and types matter.
        y_pred: Predictions, likewise.
        rows: The batch size to assume.
    """

    def symbol(tensor: Any) -> Any:
        shape = tuple(tensor.shape)
        return keras.KerasTensor(
            (rows, *shape[1:]) if shape else (), dtype=keras.backend.standardize_dtype(tensor.dtype)
        )

    try:
        symbols = keras.tree.map_structure(symbol, (y_true, y_pred))
        return tuple(_Called(function).compute_output_spec(*symbols).shape)
    except Exception:  # a function that cannot be evaluated on symbols is judged by what is known in the step
        return None
