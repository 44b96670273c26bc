"""Numeric directional derivatives with an error bar, to hold autodiff against.

Source: C. Ridders, Accurate computation of F'(x) and F'(x)F''(x), Adv. Eng. Software 4(2), 1982 (extrapolation of
central differences); N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4 (rounding of sums).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SHRINK = 2.0
RUNGS = 5
"""Central differences at h, h/2, ..., h/16."""


@dataclass(frozen=True)
class Slope:
    """A derivative along a direction, and how far it may be off."""

    value: float
    error: float
    """Bound from rounding, truncation and kinks; infinite where the function is not finite around the point."""

    def contradicts(self, autodiff: float) -> bool:
        """Whether a slope by autodiff lies outside of what the error allows, with a factor of five to spare."""
        return bool(np.isfinite(self.error) and abs(autodiff - self.value) > 5.0 * self.error)


def slope(function: Callable[[float], float], dtype: str, magnitude: float | None = None) -> Slope:
    """The derivative of `function` at 0.

    `function(t)` is the loss at the point moved by `t` along a direction whose length is about that of the point, so
    that `t` counts in relative units. The step begins at the cube root of the dtype's epsilon, where truncation and
    rounding of a central difference balance, and is then halved; the extrapolated value with the smallest error
    wins. The difference of the one-sided slopes at the smallest step bounds what a kink nearby can do.

    Args:
        function: Evaluates the loss; may return NaN where the point leaves its domain.
        dtype: The dtype in which the loss is computed.
        magnitude: Size of the numbers that are summed into the loss, where cancellation makes that larger than the
            loss; defaults to the largest value met.
    """
    epsilon = float(np.finfo(dtype if dtype in ("float64", "float32", "float16") else "float16").eps)
    step = epsilon ** (1.0 / 3.0)
    centre = function(0.0)
    for _ in range(3):  # leave the domain's edge alone: come closer instead
        found = _ridders(function, centre, step, epsilon, magnitude)
        if np.isfinite(found.error):
            return found
        step /= 8.0
    return Slope(np.nan, np.inf)


def _ridders(
    function: Callable[[float], float], centre: float, step: float, epsilon: float, magnitude: float | None
) -> Slope:
    steps = [step / SHRINK**k for k in range(RUNGS)]
    ahead = np.array([function(h) for h in steps])
    behind = np.array([function(-h) for h in steps])
    if not (np.isfinite(centre) and np.isfinite(ahead).all() and np.isfinite(behind).all()):
        return Slope(np.nan, np.inf)
    size = max(magnitude or 0.0, float(np.abs(ahead).max()), float(np.abs(behind).max()))
    rounding = [8.0 * epsilon * size / h for h in steps]
    central = [(a - b) / (2.0 * h) for a, b, h in zip(ahead, behind, steps, strict=True)]
    kinks = [abs((a - centre) - (centre - b)) / h for a, b, h in zip(ahead, behind, steps, strict=True)]
    # One-sided slopes of a smooth function differ by h f'': halving the step halves it. What does not shrink is a kink.
    kink = max(0.0, 2.0 * kinks[-1] - kinks[-2]) + max(0.0, kinks[-1] - kinks[0] / SHRINK ** (RUNGS - 1)) / 2.0
    best = Slope(np.nan, np.inf)
    for k in range(RUNGS - 1):
        extrapolated = central[k + 1] + (central[k + 1] - central[k]) / (SHRINK**2 - 1.0)
        error = abs(extrapolated - central[k + 1]) + 2.0 * rounding[k + 1] + kink
        if error < best.error:
            best = Slope(float(extrapolated), float(error))
    return best
