"""How far arrays lie apart, and what rounding alone explains."""

from __future__ import annotations

import numpy as np

EPSILON = float(np.finfo("float32").eps)


def gaps(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """The absolute differences: none where both are NaN or the same infinity, infinite where only one is."""
    with np.errstate(invalid="ignore"):
        gap = np.abs(one.astype("float64") - two.astype("float64"))
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    return np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))


def distance(one: np.ndarray, two: np.ndarray) -> float:
    """The largest absolute difference; of what is no number, 1 where anything differs."""
    if one.dtype.kind not in "biuf" or two.dtype.kind not in "biuf":
        return float(not np.array_equal(one, two))
    return float(np.max(gaps(one, two), initial=0.0))


def most(noise: np.ndarray) -> float:
    """The largest finite entry."""
    return float(np.max(noise[np.isfinite(noise)], initial=0.0))


def scale(array: np.ndarray) -> float:
    """The largest finite absolute value; 1 for what is no number."""
    if array.dtype.kind not in "iuf":
        return 1.0
    finite = np.abs(array[np.isfinite(array)])
    return float(np.max(finite, initial=0.0))


def epsilon_of(array: np.ndarray) -> float:
    """The unit in the last place that counts: none for whole numbers."""
    return EPSILON if array.dtype.kind == "f" else 0.0


def short(array: np.ndarray) -> str:
    """The first row in a few numbers."""
    flat = np.asarray(array[0] if array.ndim else array).reshape(-1)
    return ", ".join(f"{v:.4g}" if array.dtype.kind in "iuf" else str(v) for v in flat[:4]) + (
        " ..." if flat.size > 4 else ""
    )


def range_text(array: np.ndarray) -> str:
    """Lowest and highest finite entry."""
    if array.dtype.kind not in "biuf" or not array.size:
        return ""
    finite = array[np.isfinite(array)]
    return f"{finite.min():.4g} .. {finite.max():.4g}" if finite.size else "not finite"
