"""What of an objective, in value or gradient, is NaN or infinite on inputs that the script reaches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lossproof.lab.blind import Point
from lossproof.lab.gradient.blame import in_loss, in_model, subjects_on
from lossproof.lab.gradient.modes import under_xla, where_it_shows
from lossproof.lab.gradient.reach import Found, search, whole
from lossproof.lab.gradient.sure import when_sure
from lossproof.lab.gradient.trouble import Reach, Trouble, finite, kind_of
from lossproof.lab.gradient.weight_connection import captured_point
from lossproof.lab.lab import Lab
from lossproof.lab.minimised import minimised
from lossproof.lab.received import Batch
from lossproof.lab.subject import ObjectiveSubject, Subject


def troubles(lab: Lab) -> tuple[Trouble, ...]:
    """What was found; at most one for each loss, the value before the gradient, what is met before what will be."""
    return tuple(_troubles(lab))


def _troubles(lab: Lab) -> Iterator[Trouble]:
    losses = [one for one in lab.once(minimised) if one is not lab.step]
    if lab.capture.model is None:
        for subject in losses:
            yield from in_loss(lab, subject, "captured", None)
        return
    known = list(_on_data(lab)) or under_xla(lab)
    yield from known
    if not lab.capture.training or any(one.subject is None for one in known):
        return
    for subject in losses:
        if not any(_same(one.subject, subject) for one in known):
            trouble = lab.attempt(partial(when_sure, lab, subject))
            if trouble is not None:
                known.append(trouble)
                yield trouble


def _on_data(lab: Lab) -> Iterator[Trouble]:
    """On the captured batch; where that is finite, on the rest of the data."""
    base = lab.once(captured_point)
    if base is None:
        return
    if not finite(base):
        yield from _met(lab, lab.batch, base, "captured", None)
        return
    found = lab.attempt(lambda: search(lab))
    if found is not None:
        yield from _met(lab, found.batch, whole(lab, found.batch), "data", found)


def _met(lab: Lab, batch: Batch, base: Point, reach: Reach, found: Found | None) -> Iterator[Trouble]:
    """The troubles of a batch on which the objective as a whole is not finite."""
    kind = kind_of(base)
    seen = False
    for subject in subjects_on(lab, batch):
        if seen and isinstance(subject, ObjectiveSubject):
            continue  # it holds the loss that was found
        for trouble in in_loss(lab, subject, reach, found):
            if trouble.kind == kind:
                seen = True
                yield where_it_shows(lab, batch, trouble)
    if not seen and kind is not None:
        born = in_model(lab, batch, base, kind, reach, found)
        if born is not None:
            yield where_it_shows(lab, batch, born)


def _same(one: Subject | None, other: Subject) -> bool:
    if isinstance(other, ObjectiveSubject):
        return True  # it holds the others
    return one is not None and (one.name, one.output) == (other.name, other.output)
