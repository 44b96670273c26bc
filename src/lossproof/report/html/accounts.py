"""Accounts as tables and charts: of one batch, and over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lossproof.ledger.entry import TOLERANCE, Entry, GradientEntry
from lossproof.report.html.chart import Chart, Table, bars, curves, heat_map
from lossproof.report.wording import number


def composition(parts: Mapping[str, float]) -> Chart | None:
    """What each part adds to the total of a batch; None of fewer than two parts."""
    if len(parts) < 2:
        return None
    caption = "Each term on the captured batch, times its weight."
    return bars("What the total is made of", caption, parts, "contribution to the loss")


def parts_of(entry: Entry) -> dict[str, float]:
    """The contribution of each part, and what is left over where that is more than rounding."""
    parts = {part.name: part.contribution for part in entry.parts}
    return parts if entry.closes else {**parts, "left over": entry.residual}


def charts_of(entries: Sequence[Entry]) -> list[Chart]:
    """What the loss was made of, weights and rates that moved, and whose gradient drives what; none of no account."""
    if not entries:
        return []
    steps = [entry.step or 0 for entry in entries]
    charts = [_contributions(entries, steps), *_weights(entries, steps), *_rates(entries, steps)]
    measured = [entry for entry in entries if entry.gradients is not None]
    if measured:
        charts += _gradients(measured)
    return charts


def _series(entries: Sequence[Entry], what: str) -> dict[str, list[float | None]]:
    """A number of each part over the steps, None where it had none."""
    names = list(dict.fromkeys(part.name for entry in entries for part in entry.parts))
    rows = [{part.name: float(getattr(part, what)) for part in entry.parts} for entry in entries]
    return {name: [_drawn(row.get(name)) for row in rows] for name in names}


def _drawn(value: float | None) -> float | None:
    """A gap where there is nothing to draw."""
    return value if value is not None and math.isfinite(value) else None


def _contributions(entries: Sequence[Entry], steps: Sequence[int]) -> Chart:
    series = _series(entries, "contribution")
    # A stack of parts of both signs shows no sum: then each has a line of its own, and the total one more.
    stacked = all(value is None or value >= 0.0 for values in series.values() for value in values)
    if not stacked:
        series["total"] = [_drawn(entry.total) for entry in entries]
    caption = "Each term times its weight, and each penalty" + (
        ", on top of each other: their sum is the loss." if stacked else "."
    )
    return curves("What the loss was made of", caption, steps, series, "contribution to the loss", stacked=stacked)


def _weights(entries: Sequence[Entry], steps: Sequence[int]) -> list[Chart]:
    moving = {name: values for name, values in _series(entries, "weight").items() if _moves(values)}
    if not moving:
        return []
    return [
        curves("Weights that moved", "Of the terms, as each step used them.", steps, moving, "weight", stacked=False)
    ]


def _moves(values: Sequence[float | None]) -> bool:
    """Whether numbers differ by more than rounding: a weight in the user's own code is measured."""
    known = [value for value in values if value is not None]
    return len(known) > 1 and max(known) - min(known) > TOLERANCE * max(map(abs, known))


def _rates(entries: Sequence[Entry], steps: Sequence[int]) -> list[Chart]:
    rates = [_drawn(entry.learning_rate) for entry in entries]
    if not _moves(rates):
        return []
    series = {"learning rate": rates}
    return [curves("Learning rate", "As each step used it.", steps, series, "learning rate", stacked=False)]


def _gradients(entries: Sequence[Entry]) -> list[Chart]:
    steps = [entry.step or 0 for entry in entries]
    found = [entry.gradients for entry in entries if entry.gradients is not None]
    last = found[-1]
    charts = []
    same = [one for one in found if one.parts == last.parts]
    if len(same) > 1:
        at = [step for step, one in zip(steps, found, strict=True) if one.parts == last.parts]
        norms = {part: [_drawn(one.norm[k]) for one in same] for k, part in enumerate(last.parts)}
        charts.append(
            curves("Gradient of each term", "Its Euclidean norm over all weights.", at, norms, "norm", stacked=False)
        )
    charts.append(_shares(last, steps[-1]))
    if len(last.parts) > 1:
        charts.append(
            heat_map(
                "Which terms pull against each other",
                f"Cosine between the gradients of two terms at step {steps[-1]}: -1 against, 0 apart, 1 together.",
                last.parts,
                last.parts,
                last.cosines,
                (-1.0, 1.0),
                "cosine",
            )
        )
    return charts


def _shares(last: GradientEntry, step: int) -> Chart:
    rows, values = [*last.groups, "all weights"], [*last.shares, last.share]
    low = min((value for row in values for value in row if value is not None), default=0.0)
    return heat_map(
        "Which term drives which layer",
        f"Share of the whole gradient at step {step}; a negative one works against the rest.",
        rows,
        last.parts,
        values,
        (-1.0, 1.0) if low < 0.0 else (0.0, 1.0),
        "share",
    )


def account_table(entry: Entry) -> Table:
    """Each part with its value, weight and contribution, and the total."""
    rows = [
        (part.name, number(part.value), number(part.weight, trim=True), number(part.contribution))
        for part in entry.parts
    ]
    rows.append(("total", "", "", number(entry.total)))
    if not entry.closes:
        rows.append((f"left over: {entry.cause or 'unexplained'}", "", "", number(entry.residual)))
    return Table(("part", "value", "weight", "contribution"), tuple(rows))
