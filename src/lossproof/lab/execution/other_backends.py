"""The captured objective on another backend, at the same weights and on the same batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from lossproof.lab.elsewhere import HALF, Measured, draws_numbers, measure, measured_elsewhere, starts
from lossproof.lab.lab import Lab
from lossproof.lab.model import Functional
from lossproof.lab.restated import widened
from lossproof.lab.subject import Subject
from lossproof.lab.subjects import loss_subject
from lossproof.rules.rule import NotApplicable

SLOPE = 0.01
"""The relative error of a gradient beyond which it is another one: gradients pass more operations than values."""

Kind = Literal["value", "gradient", "raises"]


@dataclass(frozen=True)
class OtherBackend:
    """An objective that is another one on another backend."""

    kind: Kind
    here: str
    there: str
    """The backends."""
    before: float | str
    after: float | str
    """Its value (for `gradient` the norm of the gradient where they part most) here and there, or what is raised."""
    subject: Subject | None
    """The loss that differs; None where several make up the difference."""
    reference: float | None
    """The value in float64 of the predictions as plain numbers; for `gradient` the numeric slope along the difference."""
    right: str | None
    """The backend that agrees with the reference."""
    weight: str | None = None
    """For `gradient`: the weight at which the two part most."""
    slopes: tuple[float, float] | None = None
    """Of the two gradients along their difference."""


def other_backend(lab: Lab, backend: str) -> OtherBackend | None:
    """The proof that the objective is another one on a backend; None where the two agree.

    Raises:
        NotApplicable: The two cannot be compared: the script does not run there, the step is written for one backend, random
            numbers are drawn, or the model's predictions differ already.
    """
    if lab.capture.model is None:
        raise NotApplicable("there is no model, only a loss")
    if lab.overrides_train_step:
        raise NotApplicable("the train_step is written for one backend")
    if draws_numbers(lab):
        raise NotApplicable("the objective draws random numbers, which are others on each backend")
    points = starts(lab)
    there = measured_elsewhere(lab, backend, None, points)
    here = tuple(measure(lab, weights, lab.batch) for weights in points)
    return _raised(lab, here[0], there[0], backend) or _differing(lab, here, there, backend)


def _raised(lab: Lab, here: Measured, there: Measured, backend: str) -> OtherBackend | None:
    """One raises where the other has a value, and raises because of the targets: for targets of 0 it has a value too."""
    if (here.error is None) == (there.error is None):
        return None
    failed, other = (here, there) if here.error is not None else (there, here)
    if not failed.by_targets:
        raise NotApplicable(f"the objective cannot be computed on {backend}: {failed.error}")
    said = tuple(one.error or _total(one) for one in (here, there))
    subject = None
    if other is here and len(here.heard) == 1:
        subject = loss_subject(here.heard[0], None, None)
    return OtherBackend("raises", lab.backend.name, backend, said[0], said[1], subject, None, None)


def _total(one: Measured) -> float:
    return float("nan") if one.total is None else one.total


def _differing(lab: Lab, here: tuple[Measured, ...], there: tuple[Measured, ...], backend: str) -> OtherBackend | None:
    if here[0].error is not None:
        raise NotApplicable(f"the objective cannot be computed: {here[0].error}")
    for mine, theirs in zip(here, there, strict=True):
        for a, b in zip(mine.predictions, theirs.predictions, strict=True):
            if a.shape != b.shape or not np.abs(a - b).max(initial=0.0) <= HALF * np.abs(a).max(initial=1.0):
                raise NotApplicable(f"the predictions differ on {backend}, before any loss is computed")
    # At two points: where the slopes part at one alone (a kink, a tie), backends may choose either of them.
    if all(_differ(_total(a), _total(b), lab, a) for a, b in zip(here, there, strict=True)):
        return _of_value(lab, here[0], there[0], backend)
    finite = [
        bool(np.isfinite(_total(one)) and all(np.isfinite(g).all() for g in one.gradients))
        for one in (here[0], there[0])
    ]
    if finite[0] and finite[1] and all(_part(a, b) is not None for a, b in zip(here, there, strict=True)):
        return _of_gradient(lab, here[0], there[0], backend)
    return None


def _differ(a: float, b: float, lab: Lab, measured: Measured) -> bool:
    if not (np.isfinite(a) and np.isfinite(b)):
        return bool(np.isfinite(a) != np.isfinite(b))
    scale = max(abs(a), abs(b), *(_size(lab, heard) for heard in measured.heard), 0.0)
    return abs(a - b) > HALF * scale


def _size(lab: Lab, heard: Any) -> float:
    """The mean magnitude of what a loss returns for the samples: a sum of them may cancel."""
    values = lab.attempt(partial(lab.unreduced, loss_subject(heard, None, None)))
    return 0.0 if values is None or not np.isfinite(values).all() else float(np.mean(np.abs(values)))


def _of_value(lab: Lab, here: Measured, there: Measured, backend: str) -> OtherBackend:
    before, after = _total(here), _total(there)
    subject = reference = right = None
    pairs = list(zip(here.heard, here.losses, there.losses, strict=False))
    apart = [(heard, a[1], b[1]) for heard, a, b in pairs if _differ(a[1], b[1], lab, here)]
    if len(here.losses) == len(there.losses) and apart:
        heard, before, after = apart[0]
        subject = loss_subject(heard, None, None)
        reference = lab.attempt(partial(_plain, lab, subject))
        if reference is not None:
            names = [
                n for n, v in ((lab.backend.name, before), (backend, after)) if not _differ(v, reference, lab, here)
            ]
            right = names[0] if len(names) == 1 else None
    return OtherBackend("value", lab.backend.name, backend, before, after, subject, reference, right)


def _plain(lab: Lab, subject: Subject) -> float:
    """A loss in float64 of the predictions as plain numbers: what its code says of them."""
    with lab.backend.double_precision():
        return lab.value(widened(subject))


def _part(a: Measured, b: Measured) -> int | None:
    """The weight at which two gradients part most; None where they are the same."""
    size = max((float(np.linalg.norm(one)) for one in (*a.gradients, *b.gradients)), default=0.0)
    errors = [float(np.linalg.norm(one - other)) for one, other in zip(a.gradients, b.gradients, strict=True)]
    worst = int(np.argmax(errors)) if errors else 0
    return worst if errors and errors[worst] > SLOPE * size else None


def _of_gradient(lab: Lab, here: Measured, there: Measured, backend: str) -> OtherBackend:
    worst = _part(here, there)
    assert worst is not None
    mine, theirs = here.gradients[worst], there.gradients[worst]
    direction = (mine - theirs) / np.linalg.norm(mine - theirs)
    slopes = float(np.sum(mine * direction)), float(np.sum(theirs * direction))
    reference = lab.attempt(partial(_numeric, lab, worst, direction))
    right = None
    if reference is not None:
        errors = [abs(one - reference) for one in slopes]
        if min(errors) < 0.1 * max(errors):
            right = (lab.backend.name, backend)[int(np.argmin(errors))]
    subject = loss_subject(here.heard[0], None, None) if len(here.heard) == 1 else None
    norms = float(np.linalg.norm(mine)), float(np.linalg.norm(theirs))
    path = str(lab.model.trainable[worst].path)
    return OtherBackend(
        "gradient", lab.backend.name, backend, norms[0], norms[1], subject, reference, right, path, slopes
    )


def _numeric(lab: Lab, which: int, direction: np.ndarray) -> float:
    """The slope of the objective along a direction in one weight, by a central difference."""
    start = lab.number(lab.model.start[which])
    step = 1e-2 * (float(np.abs(start).max(initial=0.0)) or 1.0)

    def at(shift: float) -> float:
        weights = list(lab.model.start)
        weights[which] = lab.backend.tensor((start + shift * direction).astype("float32"))
        model = Functional(lab.capture.model, lab.capture.weights)
        with lab.undisturbed(), model.scope(weights):
            forward = model.forward(lab.batch.x, training=False)
            return float(np.sum(lab.number(model.compute_loss(lab.batch, forward, training=False))))

    return (at(step) - at(-step)) / (2.0 * step)
