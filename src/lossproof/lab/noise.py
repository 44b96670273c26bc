"""How far two evaluations of the same number may lie apart by rounding alone."""

from __future__ import annotations

import numpy as np

HALF_OF_THE_DIGITS = float(np.sqrt(np.finfo("float32").eps))
"""Values that agree to this are called equal: what a user's float32 arithmetic may lose in a few ill-conditioned steps."""


def rounding(dtype: str, magnitude: float, terms: int) -> float:
    """A bound for the rounding error of a sum of `terms` numbers in `dtype`.

    Args:
        dtype: The dtype in which the sum is formed.
        magnitude: The sum of the absolute values, or the value where all have one sign.
        terms: How many numbers are summed.

    Source: N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eq. 4.4 (pairwise summation, as NumPy and
    XLA do it: log2(n) eps), doubled for the operations before it, and never less than eight units in the last place.
    """
    epsilon = _EPSILON.get(dtype, float(np.finfo("float32").eps))
    return float(epsilon * abs(magnitude) * max(8.0, 4.0 * np.log2(max(terms, 2))))


_EPSILON = {
    "float16": float(np.finfo("float16").eps),
    "bfloat16": 2.0**-8,
    "float32": float(np.finfo("float32").eps),
    "float64": float(np.finfo("float64").eps),
}


def differs(a: float, b: float, dtype: str = "float32", terms: int = 2, scale: float = 0.0) -> bool:
    """Whether two values differ by more than rounding explains (`scale`: a further magnitude that went into them)."""
    if not (np.isfinite(a) and np.isfinite(b)):
        return bool(np.isfinite(a) != np.isfinite(b))
    return abs(a - b) > rounding(dtype, max(abs(a), abs(b), abs(scale)), terms)
