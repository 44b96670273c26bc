"""Finds in what two runs differ: measure, give B one thing of A, measure again, until nothing is left to find."""

from __future__ import annotations

from typing import Protocol

from lossproof.comparison.alignment import pairs
from lossproof.comparison.causes import GIVEN, candidates, changed_settings, kind_of
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
            raise Cannot(
                f"{one.name} trains no model by fit or train_on_batch" + (f": {one.error}" if one.error else "")
            )
    together = pairs(first, second, fit_a, fit_b)
    i, j, difference = _first_pair(first, second, together)
    x, y = first.trainings[i], second.trainings[j]
    notes = [f"{name}: {note}" for name, side in (("A", x), ("B", y)) for note in side.notes]
    notes += [f"{name} ended with {one.error}" for name, one in (("A", first), ("B", second)) if one.error]
    counts = len(first.trainings), len(second.trainings)
    if counts[0] != counts[1] and fit_a is None and fit_b is None:
        notes.append(f"A trains {counts[0]} times and B {counts[1]} times: their last trainings were compared")
    divergences: list[Divergence] = []
    organs: tuple[str, ...] = ()
    recorded = second
    while difference is not None and len(divergences) < MOST:
        found = None
        target = recorded.trainings[j]
        for organ in candidates(difference, x, target, (first, recorded)):
            if organ in organs:
                continue
            again = b.record(Transplant((*organs, organ), j, x, i), a)
            if len(again.trainings) <= j:
                continue
            left = first_difference(x, again.trainings[j])
            if left is None or left.rank > difference.rank:
                found = organ, again, left
                break
        if found is None:
            divergences.append(_unproven(difference))
            break
        organ, again, left = found
        divergences.append(_proven(difference, organ, x, target, (first, recorded), left))
        organs, recorded, difference = (*organs, organ), again, left
    steps = min(len(x.steps), len(y.steps))
    return Comparison(_side(first, x), _side(second, y), tuple(divergences), steps, len(together), tuple(notes))


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
    if organ == "mode" and a.mode == b.mode:
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
        remark=_remark(organ, a, b),
    )


def _remark(organ: str, a: Training, b: Training) -> str:
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
