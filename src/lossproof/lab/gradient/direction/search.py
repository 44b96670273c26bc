"""Whether the minimum of a loss is at its targets: each experiment in turn."""

from __future__ import annotations

from lossproof.lab.gradient.direction.exchanged import swapped
from lossproof.lab.gradient.direction.located import located
from lossproof.lab.gradient.direction.logged import logged
from lossproof.lab.gradient.direction.perfect import compared
from lossproof.lab.gradient.direction.scene import Direction, scenes
from lossproof.lab.gradient.direction.scores import as_logits, sharp
from lossproof.lab.gradient.direction.upside_down import on_scores, peaked
from lossproof.lab.lab import Lab
from lossproof.lab.subject import Subject


def direction(lab: Lab, subject: Subject) -> Direction | None:
    """The proof that a subject's minimum is not at its targets; None where it is, or where that cannot be told."""
    for scene in scenes(lab, subject):
        as_they_are = scene.simplex or not scene.ids
        found = (compared(scene) or sharp(scene) or swapped(scene) or logged(scene)) if as_they_are else None
        found = found or on_scores(scene) or peaked(scene)
        on_logits = as_logits(scene) if found is None else None
        if on_logits is not None:
            found = sharp(on_logits) or swapped(on_logits)
        if found is not None:
            return found
    return located(lab, subject)
