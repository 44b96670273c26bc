"""The shape, dtype and range of a value of the user's code, and of a gradient."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lossproof.lab.backends.base import Backend
from lossproof.lab.localize.shapes import shape_of
from lossproof.report.traced import Gradient, Values

Parts = tuple[Values, ...]


def measured(backend: Backend, value: Any) -> Parts:
    """What is worth saying of one value: nothing of what is neither a tensor nor a number. Never raises."""
    try:
        return _measured(backend, value)
    except Exception:  # an object of the user's may answer anything
        return ()


def _measured(backend: Backend, value: Any) -> Parts:
    if isinstance(value, bool | int | float):
        number = float(value)
        finite = number if np.isfinite(number) else None
        nan, inf = int(np.isnan(number)), int(np.isinf(number))
        return (Values("", None, type(value).__name__, finite, finite, finite, nan, inf),)
    if isinstance(value, keras.Variable):
        value = value.value
    if not (backend.is_tensor(value) or isinstance(value, np.ndarray | np.generic | keras.KerasTensor)):
        return ()
    shape = shape_of(value)
    dtype = _dtype(value)
    if not (isinstance(value, np.ndarray | np.generic) or backend.is_concrete(value)):
        return (Values("", shape, dtype, symbolic=True),)
    array = np.asarray(value if isinstance(value, np.ndarray | np.generic) else backend.numpy(value))
    low, high, mean, nan, inf = _range(array)
    return (Values("", shape, dtype, low, high, mean, nan, inf),)


def _dtype(value: Any) -> str:
    try:
        return str(keras.backend.standardize_dtype(value.dtype))
    except Exception:  # complex numbers, strings
        return str(value.dtype)


def _range(array: np.ndarray) -> tuple[float | None, float | None, float | None, int, int]:
    if array.dtype.kind not in "fiub" or not array.size:
        return None, None, None, 0, 0
    array = array.astype("float64")
    nan, inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    finite = array[np.isfinite(array)] if nan or inf else array
    if not finite.size:
        return None, None, None, nan, inf
    return float(finite.min()), float(finite.max()), float(finite.mean()), nan, inf


def summary_of_gradient(gradient: np.ndarray) -> Gradient:
    """The norm and range of a gradient's finite entries."""
    finite = gradient[np.isfinite(gradient)]
    bad = int(gradient.size - finite.size)
    if not finite.size:
        return Gradient(None, None, None, bad)
    return Gradient(float(np.sqrt(np.sum(np.square(finite)))), float(finite.min()), float(finite.max()), bad)
