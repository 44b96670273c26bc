"""Weights that change with the step: subclasses of Keras's `LearningRateSchedule`, so they serve as learning rates too.

t is the step: the optimizer steps made so far (`lp.step()`), 0 at first. Values are scalars in `keras.config.floatx()`, without
unit. Every schedule is a function of t alone, so a Trainer that is loaded goes on where it was saved.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from lossproof.objective.nearest import listed
from lossproof.objective.references import PACKAGE

Tensor = Any

SHAPES = ("linear", "cosine", "sigmoid")


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """From one value to another."""

    def __init__(self, start: float, end: float, begin: int = 0) -> None:
        self.start = _finite(self, "start", start)
        self.end = _finite(self, "end", end)
        self.begin = _whole(self, "begin", begin, least=0)

    def _between(self, part: Tensor) -> Tensor:
        """The value at a part of the way, 0 to 1; exactly `end` at 1."""
        return self.start * (1.0 - part) + self.end * part

    def _since(self, step: Tensor) -> Tensor:
        """Whole steps since `begin`, at least 0: subtracted as integers, which stay exact beyond 2^24."""
        step = ops.convert_to_tensor(step)
        if "float" in keras.backend.standardize_dtype(step.dtype):
            step = ops.cast(step, "int32")
        return ops.maximum(step - self.begin, 0)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"start": self.start, "end": self.end, "begin": self.begin}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"lp.schedules.{type(self).__name__}({arguments})"


@keras.saving.register_keras_serializable(PACKAGE)
class Linear(_Schedule):
    """In a straight line from `start` to `end`, which it then keeps.

        w(t) = start + (end - start) * min(max(t - begin, 0) / steps, 1)

    The warm-up of the KL term in Bowman et al., "Generating Sentences from a Continuous Space", 2016 (CoNLL), and in Sonderby
    et al., "Ladder Variational Autoencoders", 2016 (NeurIPS).

    Args:
        start: The first value.
        end: The last value.
        steps: Length of the way in steps, at least 1.
        begin: The step at which it begins; `start` before.
    """

    def __init__(self, start: float, end: float, steps: int, begin: int = 0) -> None:
        super().__init__(start, end, begin)
        self.steps = _whole(self, "steps", steps, least=1)

    def __call__(self, step: Tensor) -> Tensor:
        """The value at a step."""
        return self._between(_part(self._since(step), self.steps))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"start": self.start, "end": self.end, "steps": self.steps, "begin": self.begin}


@keras.saving.register_keras_serializable(PACKAGE)
class Cosine(Linear):
    """Along half a wave of a cosine from `start` to `end`, which it then keeps.

        w(t) = end + (start - end) * (1 + cos(pi * p)) / 2,    p = min(max(t - begin, 0) / steps, 1)

    Equation 5 of Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017 (ICLR), without restarts:
    start is their eta_max, end their eta_min, p their T_cur / T_i. The arguments are those of `Linear`.
    """

    def __call__(self, step: Tensor) -> Tensor:
        """The value at a step."""
        return self._between(_shaped(_part(self._since(step), self.steps), "cosine"))


@keras.saving.register_keras_serializable(PACKAGE)
class Sigmoid(Linear):
    """Along a logistic curve from near `start` to near `end`, half-way at `begin + steps / 2`.

        w(t) = start + (end - start) / (1 + exp(-steepness * (p - 1/2))),    p = max(t - begin, 0) / steps

    The annealing of Bowman et al., "Generating Sentences from a Continuous Space", 2016 (CoNLL), Figure 2. It comes close to its
    ends without reaching them: with the default steepness it begins at 0.7 % and is at 99.3 % of the way at p = 1.

    Args:
        start: The value that it comes from.
        end: The value that it goes to.
        steps: Steps from p = 0 to p = 1, at least 1.
        begin: The step of p = 0.
        steepness: Slope of the logistic function's argument; larger is more sudden, > 0.
    """

    def __init__(self, start: float, end: float, steps: int, begin: int = 0, steepness: float = 10.0) -> None:
        super().__init__(start, end, steps, begin)
        self.steepness = _finite(self, "steepness", steepness)
        if self.steepness <= 0:
            raise ValueError(f"lp.schedules.Sigmoid(steepness={self.steepness}) has to be positive.")

    def __call__(self, step: Tensor) -> Tensor:
        """The value at a step."""
        part = ops.cast(self._since(step), keras.config.floatx()) / self.steps
        return self._between(ops.sigmoid(self.steepness * (part - 0.5)))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "steepness": self.steepness}


@keras.saving.register_keras_serializable(PACKAGE)
class Cyclical(_Schedule):
    """Rises from `start` to `end` in the first part of each cycle, stays there for the rest of it, and begins anew.

        tau = ((t - begin) mod period) / period,    w(t) = start + (end - start) * f(min(tau / ratio, 1))

    Fu et al., "Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing", 2019 (NAACL), equations 6 and 7:
    period is their T / M, ratio their R, cycles their M. They count t from 1, here it is counted from 0.

    Args:
        start: The value at the beginning of each cycle.
        end: The value that a cycle reaches.
        period: Steps of one cycle, at least 1.
        ratio: The part of a cycle in which the value rises, in (0, 1].
        cycles: How many; then the value stays at `end`. None for no end.
        shape: f: "linear", f(p) = p; "cosine", f(p) = (1 - cos(pi p)) / 2; "sigmoid", f(p) = 1 / (1 + exp(-10 (p - 1/2))).
        begin: The step of the first cycle; `start` before.
    """

    def __init__(
        self,
        start: float,
        end: float,
        period: int,
        ratio: float = 0.5,
        cycles: int | None = None,
        shape: str = "linear",
        begin: int = 0,
    ) -> None:
        super().__init__(start, end, begin)
        self.period = _whole(self, "period", period, least=1)
        self.ratio = _finite(self, "ratio", ratio)
        if not 0.0 < self.ratio <= 1.0:
            raise ValueError(
                f"lp.schedules.Cyclical(ratio={self.ratio}) is a part of a cycle: expected 0 < ratio <= 1."
            )
        self.cycles = None if cycles is None else _whole(self, "cycles", cycles, least=1)
        if shape not in SHAPES:
            raise ValueError(f"lp.schedules.Cyclical(shape={shape!r}) is none of {listed(SHAPES)}.")
        self.shape = shape

    def __call__(self, step: Tensor) -> Tensor:
        """The value at a step."""
        since = self._since(step)
        floatx = keras.config.floatx()
        tau = ops.cast(since % self.period, floatx) / self.period
        value = self._between(_shaped(ops.minimum(tau / self.ratio, 1.0), self.shape))
        if self.cycles is None:
            return value
        return ops.where(since >= self.period * self.cycles, ops.cast(self.end, floatx), value)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "start": self.start,
            "end": self.end,
            "period": self.period,
            "ratio": self.ratio,
            "cycles": self.cycles,
            "shape": self.shape,
            "begin": self.begin,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class Piecewise(keras.optimizers.schedules.LearningRateSchedule):
    """Constant between given steps, or in straight lines through given points.

    With `interpolation="constant"`, K boundaries b and K + 1 values v, as `keras.optimizers.schedules.PiecewiseConstantDecay`:

        w(t) = v[i] for b[i-1] < t <= b[i], with b[-1] = -inf and b[K] = inf

    With `interpolation="linear"`, K boundaries and K values:

        w(b[i]) = v[i], in straight lines between, v[0] before and v[K-1] after

    Args:
        boundaries: Steps, increasing.
        values: The values.
        interpolation: "constant" or "linear".
    """

    def __init__(self, boundaries: Sequence[int], values: Sequence[float], interpolation: str = "constant") -> None:
        self.boundaries = [_whole(self, "boundaries", one, least=0) for one in boundaries]
        self.values = [_finite(self, "values", one) for one in values]
        if interpolation not in ("constant", "linear"):
            raise ValueError(
                f'lp.schedules.Piecewise(interpolation={interpolation!r}) is neither "constant" nor "linear".'
            )
        self.interpolation = interpolation
        if not self.boundaries or any(b <= a for a, b in itertools.pairwise(self.boundaries)):
            raise ValueError(
                f"lp.schedules.Piecewise(boundaries={self.boundaries}): expected at least one step, increasing."
            )
        wanted = len(self.boundaries) + (interpolation == "constant")
        if len(self.values) != wanted:
            raise ValueError(
                f'lp.schedules.Piecewise(interpolation="{interpolation}") with {len(self.boundaries)} boundaries takes {wanted} '
                f"values, found {len(self.values)}."
            )

    def __call__(self, step: Tensor) -> Tensor:
        """The value at a step."""
        floatx = keras.config.floatx()
        step = ops.convert_to_tensor(step)
        value = ops.cast(self.values[0], floatx)
        if self.interpolation == "constant":
            for boundary, after in zip(self.boundaries, self.values[1:], strict=True):
                value = ops.where(step > boundary, ops.cast(after, floatx), value)
            return value
        corners = list(zip(self.boundaries, self.values, strict=True))
        for (left, before), (right, after) in itertools.pairwise(corners):
            part = ops.clip(ops.cast(step - left, floatx) / (right - left), 0.0, 1.0)
            value = ops.where(step > left, before * (1.0 - part) + after * part, value)
        return value

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"boundaries": self.boundaries, "values": self.values, "interpolation": self.interpolation}

    def __repr__(self) -> str:
        return f"lp.schedules.Piecewise({self.boundaries}, {self.values}, interpolation={self.interpolation!r})"


def _part(since: Tensor, steps: int) -> Tensor:
    return ops.minimum(ops.cast(since, keras.config.floatx()) / steps, 1.0)


def _shaped(part: Tensor, shape: str) -> Tensor:
    if shape == "cosine":
        return (1.0 - ops.cos(math.pi * part)) / 2.0
    return ops.sigmoid(10.0 * (part - 0.5)) if shape == "sigmoid" else part


def _finite(owner: object, argument: str, value: Any) -> float:
    what = f"lp.schedules.{type(owner).__name__}({argument}=...)"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{what} takes a number, found {value!r}.") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} takes a finite number, found {number}.")
    return number


def _whole(owner: object, argument: str, value: Any, least: int) -> int:
    what = f"lp.schedules.{type(owner).__name__}({argument}=...)"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        if not isinstance(value, float) or not value.is_integer():
            raise TypeError(f"{what} takes a whole number of steps, found {value!r}.")
        value = int(value)
    number = int(value)
    if number < least:
        raise ValueError(f"{what} takes at least {least}, found {number}.")
    return number
