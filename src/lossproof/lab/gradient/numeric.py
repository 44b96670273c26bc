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
"""Central differences at h, h/2 and, where these two leave it vague, h/4."""
SHARP = 1e-4
"""The relative error at which a slope needs no shorter step."""
LONGEST = 0.1
"""The longest step, in units of the point."""
CLOSER = 64.0
"""By how much the step is shortened to try a contradiction again."""
COARSER = 32.0
"""By how much points are moved apart where the function does not tell neighbours apart."""


@dataclass(frozen=True)
class Slope:
    """A derivative along a direction, and how far it may be off."""

    value: float
    error: float
    """Bound from rounding, truncation and kinks; infinite where the function has no slope that can be measured: it is
    not finite around the point, or does not tell neighbouring points apart."""
    step: float = 0.0
    """The longest step that was taken for it, in units of the point."""

    def contradicts(self, autodiff: float) -> bool:
        """Whether a slope by autodiff lies outside of what the error allows, with a factor of five to spare."""
        return bool(np.isfinite(self.error) and abs(autodiff - self.value) > 5.0 * self.error)


def slope(function: Callable[[float], float], dtype: str, centre: float, noise: float | None = None) -> Slope:
    """The derivative of `function` at 0.

    `function(t)` is the loss at the point moved by `t` along a direction whose length is about that of the point, so
    that `t` counts in relative units. The step begins where truncation and noise of a central difference balance, and
    is then halved; the extrapolated value with the smallest error wins.

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
        found = _ridders(function, centre, min(step, LONGEST), noise)
        if np.isfinite(found.error):
            return found
        step /= 8.0
    return Slope(np.nan, np.inf)


def holds_closer(
    function: Callable[[float], float], dtype: str, centre: float, noise: float, found: Slope, autodiff: float
) -> bool:
    """Whether a contradiction of autodiff stands at ever shorter steps, as far as rounding lets them tell.

    Beside a pole of the derivative (`arccos` just below 1) a step can jump over what autodiff rightly sees. So it can at
    a kink, such as a clip whose bound the point lies on: there autodiff takes one side.
    """
    if _kinked(function, dtype, centre, found, abs(autodiff - found.value)):
        return False
    noise, gap = max(noise, _epsilon(dtype) * abs(centre)), abs(autodiff - found.value)
    # What looks like noise at the spacing of float32 may be the shape of the function: a clip beside a logarithm. Where
    # it does, a slope at shorter steps that is sharp and that of autodiff is believed, and no other.
    finest, *_ = _noise_from(function, 16.0 * _epsilon(dtype), 16.0 * float(np.finfo("float32").eps) / COARSER)
    least = min(noise, max(finest, _epsilon(dtype) * abs(centre)))
    step = found.step / CLOSER
    # A slope contradicts if it is five times its error away, and of that rounding makes 16 times the noise by the step.
    while 160.0 * least / step < gap:
        told = 160.0 * noise / step < gap
        closer = _ridders(function, centre, step, noise if told else least)
        if not closer.contradicts(autodiff) and (told or closer.error < 0.2 * gap):
            return False
        step /= CLOSER
    return True


def _kinked(function: Callable[[float], float], dtype: str, centre: float, found: Slope, gap: float) -> bool:
    """Whether the slopes of both sides differ at the point itself by as much as is to be explained.

    The second difference over the step tends to that jump; of a smooth function it falls with the step. What float32
    would not show of it is not looked at, since a part of the function may be computed in it.
    """
    least = 16.0 * float(np.finfo("float32").eps) * abs(centre)
    step, before = found.step / 8.0, 0.0
    while step > CLOSER * _epsilon(dtype):
        second = abs(function(step) - 2.0 * centre + function(-step))
        if not second > least:
            return False
        jump = second / step
        if min(jump, before) > 0.2 * gap and max(jump, before) < 1.2 * min(jump, before):
            return True
        step, before = step / 8.0, jump
    return False


def noise_of(function: Callable[[float], float], dtype: str) -> float:
    """The standard deviation of a function's rounding errors, from third differences of closely spaced values.

    A loss may compute in less than the dtype that it returns, so the spacing is that of float32 at least. Where most
    neighbours have the same value, they are moved apart (Moré and Wild, section 4). Infinite where the function is
    flat, or made of stairs higher than its last place: a cast to float16, a `round`, whose derivative, nought nearly
    everywhere, is not what autodiff is meant to give.
    """
    epsilon = max(_epsilon(dtype), float(np.finfo("float32").eps))
    noise, largest, spacing = _noise_from(function, 16.0 * epsilon, LONGEST / 4.0)
    if spacing == 16.0 * epsilon or np.isinf(noise):
        return noise
    # Stairs, at least those of float32, however evenly they happen to be met.
    return max(noise, 0.3 * epsilon * largest) if noise <= 4.0 * epsilon * largest else np.inf


def _noise_from(function: Callable[[float], float], closest: float, farthest: float) -> tuple[float, float, float]:
    """The noise at the closest spacing at which neighbours differ, the largest value there, and that spacing.

    The noise is infinite where they do not differ below the farthest.
    """
    spacing = closest
    while spacing < farthest:
        noise, largest = _third_differences(function, spacing)
        if np.isfinite(noise):
            return noise, largest, spacing
        spacing *= COARSER
    return np.inf, np.inf, spacing


def _third_differences(function: Callable[[float], float], spacing: float) -> tuple[float, float]:
    """The noise that they show, and the largest value; infinite where most neighbours have the same value."""
    values = np.array([function(spacing * k) for k in range(-3, 5)])
    if 2 * np.count_nonzero(np.diff(values)) < values.size:
        return np.inf, np.inf
    return float(np.sqrt(np.mean(np.diff(values, 3) ** 2) / 20.0)), float(np.abs(values).max())


def _epsilon(dtype: str) -> float:
    return 2.0**-8 if dtype == "bfloat16" else float(np.finfo(dtype).eps)


def _ridders(function: Callable[[float], float], centre: float, step: float, noise: float) -> Slope:
    steps = step / SHRINK ** np.arange(RUNGS)
    rounding = 4.0 * noise / steps
    central, curvature = np.empty(RUNGS), np.empty(RUNGS)
    best = Slope(np.nan, np.inf)
    for k, h in enumerate(steps):
        ahead, behind = function(h), function(-h)
        if not (np.isfinite(ahead) and np.isfinite(behind)):
            return Slope(np.nan, np.inf)
        central[k] = (ahead - behind) / (2.0 * h)
        curvature[k] = ((ahead - centre) - (centre - behind)) / h**2
        if k == 0:
            continue
        extrapolated = central[k] + (central[k] - central[k - 1]) / (SHRINK**2 - 1.0)
        # The curvature of a smooth function is the same at both steps. What differs comes of kinks in between, or at
        # the point itself.
        kink = 2.0 * h * abs(curvature[k] - curvature[k - 1])
        error = abs(central[k] - central[k - 1]) + 2.0 * rounding[k] + kink
        if error < best.error:
            best = Slope(float(extrapolated), float(error), step)
        if best.error <= SHARP * abs(best.value):
            break
    return best
