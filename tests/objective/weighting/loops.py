"""For each strategy: how it is built, and the same algorithm around the network by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossproof.objective import weighting

from . import by_hand, gradients
from .test_gradnorm import Paper

CAGRAD = 0.4


def cagrad(rows: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The dual of the paper for two terms, on a fine grid that is refined."""
    mean = rows.mean(axis=0)
    radius = CAGRAD * np.linalg.norm(mean)
    low, high = 0.0, 1.0
    for _ in range(30):
        grid = np.linspace(low, high, 21)
        points = grid[:, None] * rows[0] + (1 - grid[:, None]) * rows[1]
        best = int(np.argmin(points @ mean + radius * np.linalg.norm(points, axis=1)))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 20)]
    point = points[best]
    return mean + radius * point / np.linalg.norm(point)


@dataclass
class Averages:
    """Dynamic weight average, as its paper's authors write it: a table of the epochs' mean values."""

    epochs: list[list[np.ndarray]] = field(default_factory=list)

    def begin(self) -> None:
        self.epochs.append([])

    def combine(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        self.epochs[-1].append(values)
        rates = np.ones(2)
        if len(self.epochs) > 2:
            rates = np.mean(self.epochs[-2], axis=0) / np.mean(self.epochs[-3], axis=0)
        exponents = np.exp(rates / 2.0)
        return (2 * exponents / exponents.sum()) @ rows


@dataclass
class Variances:
    """Uncertainty, with the log-variances moved by the same gradient descent as the network."""

    logs: np.ndarray = field(default_factory=lambda: np.log([0.5, 2.0]))

    def combine(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        precisions = np.exp(-self.logs) / 2
        self.logs = self.logs - by_hand.RATE * (0.5 - precisions * values)
        return precisions @ rows


def means() -> by_hand.Loop:
    averages = Averages()
    return by_hand.Loop(averages.combine, averages.begin)


def gradnorm() -> by_hand.Loop:
    paper = Paper(0.5, 0.05, np.ones(2))
    return by_hand.Loop(lambda rows, values: paper.step(rows, values, by_hand.TRUNK))


LOOPS: dict[str, tuple[Callable[[], Any], Callable[[], by_hand.Loop]]] = {
    "Uncertainty": (
        lambda: weighting.Uncertainty(initial={"first": 0.5, "second": 2.0}),
        lambda: by_hand.Loop(Variances().combine),
    ),
    "DynamicWeightAverage": (weighting.DynamicWeightAverage, means),
    "GeometricMean": (
        weighting.GeometricMean,
        lambda: by_hand.Loop(lambda rows, values: np.sqrt(values.prod()) / 2 * (rows / values[:, None]).sum(axis=0)),
    ),
    "GradNorm": (lambda: weighting.GradNorm(alpha=0.5, learning_rate=0.05, shared="trunk"), gradnorm),
    "PCGrad": (weighting.PCGrad, lambda: by_hand.Loop(lambda rows, _: gradients.surgery(rows, [[1], [0]]))),
    "MGDA": (weighting.MGDA, lambda: by_hand.Loop(lambda rows, _: gradients.shortest(rows))),
    "UPGrad": (weighting.UPGrad, lambda: by_hand.Loop(lambda rows, _: gradients.projected_mean(rows))),
    "CAGrad": (lambda: weighting.CAGrad(c=CAGRAD), lambda: by_hand.Loop(cagrad)),
}
"""All but RandomLossWeighting, whose numbers a loop by hand cannot draw."""
