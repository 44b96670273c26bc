"""How often accounts are kept: at fixed steps, or as often as a share of the training's time allows."""

from __future__ import annotations

from collections import deque
from statistics import median, median_low

KEPT = 15
"""Of the latest times."""


class Pace:
    """Says at which steps an account is due: at multiples of `interval`.

    With a share, the interval is `base` times the least power of two for which

        c <= share * s * interval

    holds, where c is the time that an account takes and s that of a step, without the accounts between the steps: both
    medians of what was measured so far. So accounts take no more than the share, but for what is done once: the first one,
    which is traced and compiled. Of two runs of different speed, one keeps accounts at some of the steps of the other.

    Args:
        base: Steps.
        share: Of the time of the steps; None for an account at every multiple of `base`, whatever it takes.
    """

    def __init__(self, base: int, share: float | None = None) -> None:
        self.base = base
        self.share = share
        self._next = 0
        self._costs: deque[float] = deque(maxlen=KEPT)
        self._steps: deque[float] = deque(maxlen=KEPT)
        self._since: tuple[int, float] | None = None
        self._spent = 0.0

    def start(self, step: int) -> None:
        """A `fit` begins with this step."""
        self._next = -(-step // self.base) * self.base
        self._since = None

    @property
    def interval(self) -> int:
        """Steps between two accounts, as far as is known."""
        interval = self.base
        if self.share is not None and self._costs and self._steps:
            cost, allowed = median_low(self._costs), self.share * max(median(self._steps), 1e-9)
            while cost > allowed * interval:
                interval *= 2
        return interval

    def reached(self, last: int) -> bool:
        """Whether a multiple of `base` is at hand, the last of the coming steps being `last`."""
        return last >= self._next

    def due(self, step: int, last: int, now: float) -> bool:
        """Whether one of the steps `step`...`last` is to be accounted for, a multiple of `base` having been reached.

        Args:
            step: The first of the coming steps.
            last: The last of them.
            now: In seconds, everything before being done.
        """
        if self.share is None:
            return True
        if self._since is not None and step - self._since[0] >= self.base:
            self._steps.append((now - self._since[1] - self._spent) / (step - self._since[0]))
            self._since, self._spent = (step, now), 0.0
        multiple = last // self.base * self.base
        if multiple % self.interval == 0:
            return True
        self._next = multiple + self.base
        return False

    def took(self, seconds: float) -> None:
        """An account of this pace took so long."""
        self._costs.append(seconds)

    def done(self, step: int, last: int, now: float, seconds: float) -> None:
        """An account was kept beside the steps `step`...`last`, this pace's or another's; `seconds` are no step's."""
        self._next = max(self._next, (last // self.base + 1) * self.base) if self.reached(last) else self._next
        if self._since is None:
            self._since, self._spent = (step, now), 0.0
        else:
            self._spent += seconds
