"""A loss that is highest where predictions are right, told where perfect predictions have no value in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lossproof.lab.bounds import bounds_of
from lossproof.lab.gradient.direction.scene import TURNED, Direction, Scene
from lossproof.lab.subject import LossSubject

SCORES = (-16.0, -8.0, -4.0, 0.0, 4.0, 8.0, 16.0)
"""Of every prediction for its label: the right answer, or the wrong one below nought."""
LEVEL = 1e-3
"""How far the loss may still move from a score of 8 to one of 16, as a share of what wrong answers take it down by."""


def on_scores(scene: Scene) -> Direction | None:
    """A loss of scores by which right answers are the worst and gain nothing, and wrong ones are better without end.

    That is so neither of a loss for these labels nor of one for the opposite labels: there, the wrong answers would be
    those without a gradient. Scores that are bounded (a probability, tanh) may be meant the other way round.
    """

    labels = np.unique(scene.right)
    if len(labels) != 2 or tuple(labels) not in ((0.0, 1.0), (-1.0, 1.0)) or (scene.here >= 0.0).all():
        return None
    if (_weights(scene) < 0.0).any():
        return None  # a score to be lowered for some rows, to be raised for others
    signs = np.where(scene.right == labels[1], 1.0, -1.0)
    values = [scene.value(score * signs) for score in SCORES]
    if not np.isfinite(values).all():
        return None
    fall = values[-2] - values[1]
    steps = (values[1] - values[0], values[2] - values[1])
    if not (steps[1] > 0.0 and scene.lower(values[1], values[2]) and steps[0] >= 1.9 * steps[1]):
        return None
    if abs(values[-1] - values[-2]) > LEVEL * fall or max(values) > values[-1] + LEVEL * fall:
        return None
    if _bounded(scene):
        return None
    right, wrong = SCORES[-2] * signs, SCORES[1] * signs
    return Direction(
        way="negated",
        perfect=values[-2],
        away=values[1],
        how="every score the opposite of its label's",
        distance=float(np.sqrt(np.mean((right - wrong) ** 2))),
        constant=False,
        other=(-values[-2], -values[1]),
    )


def _weights(scene: Scene) -> np.ndarray:
    weights = scene.subject.sample_weight
    return np.ones(1) if weights is None else scene.lab.number(weights).astype("float64")


def _bounded(scene: Scene) -> bool:
    """Whether the output ends somewhere; without a model nothing says so."""
    if scene.lab.capture.model is None:
        return False
    found = scene.lab.attempt(lambda: bounds_of(scene.lab, scene.subject)[scene.leaf])
    return found is None or found.size > 0


def peaked(scene: Scene) -> Direction | None:
    """A loss whose highest value, and a level place, is at the targets: a likelihood of rates, not negated."""

    if scene.ids or scene.simplex or scene.length is not None or not isinstance(scene.subject, LossSubject):
        return None
    targets = 0.5 * (scene.right + scene.right.mean(axis=0))  # off the ends of their range
    spread = float(targets.std())
    if not spread or (_weights(scene) < 0.0).any():
        return None
    inside = replace(scene, right=targets, subject=scene.with_targets(targets))
    random = np.random.default_rng(0)
    signs = random.choice((-1.0, 1.0), size=targets.shape) * random.uniform(0.5, 1.5, size=targets.shape)
    positive = targets.min() > 0.0 and scene.here.min() >= 0.0

    def moved(by: float) -> np.ndarray:
        there: np.ndarray = targets * np.exp(by * signs) if positive else targets + by * spread * signs
        return there

    perfect = inside.value(targets)
    around = [(inside.value(moved(by)), moved(by)) for reach in (0.1, 0.5, 2.0) for by in (reach, -reach)]
    if not all(inside.lower(value, perfect) for value, _ in around):
        return None
    level, slope = inside.gradient(targets, targets), inside.gradient(around[2][1], targets)
    if level is None or slope is None or np.linalg.norm(level) > TURNED * np.linalg.norm(slope):
        return None
    away, predictions = min(around, key=lambda one: one[0])
    return Direction(
        way="negated",
        perfect=perfect,
        away=away,
        how="moved off the targets at random, with targets half way to their mean",
        distance=inside.distance(predictions),
        constant=False,
        other=(-perfect, -away),
    )
