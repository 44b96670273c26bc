"""Copies of variables, as NumPy arrays."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def copy_of(variable: Any) -> np.ndarray:
    """The present value of a `keras.Variable` (or tensor), copied: backends update variables in place."""
    return np.array(keras.ops.convert_to_numpy(variable))


def copies(variables: Any) -> list[np.ndarray]:
    """The present value of each variable."""
    return [copy_of(variable) for variable in variables]
