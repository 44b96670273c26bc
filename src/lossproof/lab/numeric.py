"""Numeric directional derivatives with an error bar, to hold autodiff against.

Source: C. Ridders, Accurate computation of F'(x) and F'(x)F''(x), Adv. Eng. Software 4(2), 1982 (extrapolation of
central differences); J. Moré and S. Wild, Estimating computational noise, SIAM J. Sci. Comput. 33(3), 2011.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SHRINK = 2.0
RUNGS = 3
"""Central differences at h, h/2 and h/4."""


@dataclass(frozen=True)
class Slope:
    """A derivative along a direction, and how far it may be off."""

    value: float
    error: float
    """Bound from rounding, truncation and kinks; infinite where the function is not finite around the point."""

    def contradicts(self, autodiff: float) -> bool:
        """Whether a slope by autodiff lies outside of what the error allows, with a factor of five to spare."""
        return bool(np.isfinite(self.error) and abs(autodiff - self.value) > 5.0 * self.error)


def slope(function: Callable[[float], float], dtype: str, centre: float, noise: float | None = None) -> Slope:
    """The derivative of `function` at 0.

    `function(t)` is the loss at the point moved by `t` along a direction whose length is about that of the point, so
    that `t` counts in relative units. The step begins where truncation and noise of a central difference balance, and
    is then halved; the extrapolated value with the smallest error wins. What the one-sided slopes differ by, beyond
    what shrinks with the step, bounds the effect of a kink nearby.

    Args:
        function: Evaluates the loss; may return NaN where the point leaves its domain.
        dtype: The dtype of the point.
        centre: The function's value at 0.
        noise: The standard deviation of its rounding errors, see `noise_of`; measured if it is not given.
    """
    noise = noise_of(function, dtype) if noise is None else noise
    if not np.isfinite(noise) or not np.isfinite(centre):
        return Slope(np.nan, np.inf)
    epsilon = _epsilon(dtype)
    noise = max(noise, epsilon * abs(centre))
    step = max(epsilon, noise / max(abs(centre), 1e-30)) ** (1.0 / 3.0)
    for _ in range(3):  # leave the domain's edge alone: come closer instead
        found = _ridders(function, centre, min(step, 0.1), noise)
        if np.isfinite(found.error):
            return found
        step /= 8.0
    return Slope(np.nan, np.inf)


def noise_of(function: Callable[[float], float], dtype: str) -> float:
    """The standard deviation of a function's rounding errors, from third differences of closely spaced values.

    A loss may compute in less than the dtype that it returns, so the spacing is that of float32 at least.
    """
    epsilon = max(_epsilon(dtype), float(np.finfo("float32").eps))
    values = np.array([function(16.0 * epsilon * k) for k in range(-3, 5)])
    return float(np.sqrt(np.mean(np.diff(values, 3) ** 2) / 20.0))


def _epsilon(dtype: str) -> float:
    return 2.0**-8 if dtype == "bfloat16" else float(np.finfo(dtype).eps)


def _ridders(function: Callable[[float], float], centre: float, step: float, noise: float) -> Slope:
    steps = [step / SHRINK**k for k in range(RUNGS)]
    ahead = np.array([function(h) for h in steps])
    behind = np.array([function(-h) for h in steps])
    if not (np.isfinite(ahead).all() and np.isfinite(behind).all()):
        return Slope(np.nan, np.inf)
    rounding = [4.0 * noise / h for h in steps]
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
