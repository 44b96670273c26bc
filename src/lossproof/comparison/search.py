"""Finds in what two runs differ: measure, give B one thing of A, measure again, until nothing is left to find."""

from __future__ import annotations

from typing import Protocol

from lossproof.comparison.alignment import pairs
from lossproof.comparison.causes import GIVEN, OWN, candidates, changed_settings, kind_of
from lossproof.comparison.divergence import Difference, first_difference
from lossproof.comparison.recording import Recording, Training
from lossproof.comparison.transplant import Transplant
from lossproof.report.compared import Comparison, Divergence, Measured, Side

MOST = 8
"""Divergences that are looked for."""


class Run(Protocol):
    """Something that trains, and can be run again."""

    name: str

    def record(self, transplant: Transplant | None = None, donor: Run | None = None) -> Recording:
        """Run it and record its trainings, with what it is given of another run."""


class Cannot(Exception):  # noqa: N818 - an answer
    """The runs cannot be compared; the text says why."""


def compare_runs(a: Run, b: Run, fit_a: int | None = None, fit_b: int | None = None) -> Comparison:
    """Compare two runs.

    Args:
        a: The run that B is held against.
        b: The run that is given things of A.
        fit_a: The number of A's training (from 1), where it has several.
        fit_b: The same of B.

    Raises:
        Cannot: A run fails, or trains nothing.
        ValueError: A run has no training of that number.
    """
    first = a.record()
    second = first if b is a else b.record()
    for one in (first, second):
        if not one.trainings:
            if one.error:
                raise Cannot(f"{one.name} ends before it trains a model: {one.error}")
            raise Cannot(f"{one.name} trains no model: no fit, train_on_batch or step of a Keras optimizer was seen")
    together = pairs(first, second, fit_a, fit_b)
    i, j, difference = _first_pair(first, second, together)
    x, y = first.trainings[i], second.trainings[j]
    for run, training in ((first, x), (second, y)):
        if not training.steps:
            why = f": {run.error}" if run.error else ""
            raise Cannot(f"{run.name} ran no step of the training at {training.where}{why}")
    notes = [f"{name}: {note}" for name, side in (("A", x), ("B", y)) for note in side.notes]
    notes += [f"{name} ended with {one.error}" for name, one in (("A", first), ("B", second)) if one.error]
    counts = len(first.trainings), len(second.trainings)
    if counts[0] != counts[1] and fit_a is None and fit_b is None:
        notes.append(f"A trains {counts[0]} times and B {counts[1]} times: their last trainings were compared")
    divergences = _search(a, b, (first, second), (i, j), difference)
    steps = min(len(x.steps), len(y.steps))
    return Comparison(_side(first, x), _side(second, y), tuple(divergences), steps, len(together), tuple(notes))


def _search(
    a: Run, b: Run, runs: tuple[Recording, Recording], numbers: tuple[int, int], difference: Difference | None
) -> list[Divergence]:
    """Give B one thing of A after the other, as long as there is a difference and something to give."""
    (first, recorded), (i, j) = runs, numbers
    x = first.trainings[i]
    divergences: list[Divergence] = []
    organs: tuple[str, ...] = ()
    while difference is not None and len(divergences) < MOST:
        target = recorded.trainings[j]
        for organ in candidates(difference, x, target, (first, recorded)):
            again = None if organ in organs else _again(b, a, Transplant((*organs, organ), j, x, i), target)
            left = first_difference(x, again.trainings[j]) if again is not None else None
            if again is not None and (left is None or left.rank > difference.rank):
                divergences.append(_proven(difference, organ, x, target, (first, recorded), left))
                break
        else:
            return [*divergences, _unproven(difference)]
        if organ == "backend":  # which would hide all others: go on with both backends, as far as the stage lets us
            own = OWN.get(difference.stage)
            again = None if own is None else _again(b, a, Transplant((*organs, own), j, x, i), target)
            if own is None or again is None:
                return divergences
            organ, left = own, first_difference(x, again.trainings[j])
            if left is not None and left.rank <= difference.rank:
                return divergences
        assert again is not None
        organs, recorded, difference = (*organs, organ), again, left
    return divergences


def _again(b: Run, a: Run, transplant: Transplant, before: Training) -> Recording | None:
    """B with something of A; None where it did not come as far as without."""
    recording = b.record(transplant, a)
    if len(recording.trainings) <= transplant.number:
        return None
    training = recording.trainings[transplant.number]
    whole = len(training.steps) >= len(before.steps) and (training.point is not None or before.point is None)
    return recording if whole else None


def _first_pair(a: Recording, b: Recording, together: list[tuple[int, int]]) -> tuple[int, int, Difference | None]:
    for i, j in together:
        difference = first_difference(a.trainings[i], b.trainings[j])
        if difference is not None:
            return i, j, difference
    return (*together[-1], None)


def _proven(
    difference: Difference,
    organ: str,
    a: Training,
    b: Training,
    runs: tuple[Recording, Recording],
    left: Difference | None,
) -> Divergence:
    rows = [Measured(row.label, row.a, row.b) for row in difference.rows]
    if organ == "optimizer":
        rows += [Measured(*row) for row in changed_settings(a, b)]
    if organ == "backend":
        rows.append(Measured("backend", runs[0].backend, runs[1].backend))
    if organ == "functions":
        rows.append(Measured("functions that the script compiles itself", "run as Python", "are traced"))
    after = (
        "nothing differs any more"
        if left is None
        else f"that difference is gone; what is left begins at the {left.what}"
    )
    return Divergence(
        kind=kind_of(difference, organ),
        stage=difference.stage,
        title=_title(difference),
        rows=tuple(rows),
        size=difference.size,
        unit=difference.unit,
        tolerance=difference.tolerance,
        transplant=GIVEN[organ],
        proven=True,
        after=after,
        remark=_remark(organ, difference.stage, a, b),
    )


def _remark(organ: str, stage: str, a: Training, b: Training) -> str:
    if organ == "backend" and stage in OWN:
        return "From the same seed, backends draw different random numbers"
    if organ != "weights":
        return ""
    told = []
    for name, side, other in (("A", a, b), ("B", b, a)):
        trained = sorted({place for v in side.of_kind("trainable") for place in v.trained_by})
        if trained and not any(v.trained_by for v in other.variables):
            told.append(f"{name} starts from weights that it had trained already, at {', '.join(trained)}")
    return "; ".join(told) or "Neither had trained them before: they were drawn or loaded differently"


def _unproven(difference: Difference) -> Divergence:
    return Divergence(
        kind=kind_of(difference, None),
        stage=difference.stage,
        title=_title(difference),
        rows=tuple(Measured(row.label, row.a, row.b) for row in difference.rows),
        size=difference.size,
        unit=difference.unit,
        tolerance=difference.tolerance,
        transplant=None,
        proven=False,
        after="nothing of A that can be given to B makes it vanish, so the cause is named by where it shows",
    )


def _title(difference: Difference) -> str:
    return f"The runs differ first in the {difference.what}"


def _side(run: Recording, one: Training) -> Side:
    optimizer = one.optimizer.name if one.optimizer is not None else "none"
    return Side(run.name, run.backend, run.keras, one.where, one.call, one.model, one.mode, one.objective, optimizer)
