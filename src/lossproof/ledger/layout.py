"""The rows of an explanation's table, the same in the terminal and on a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lossproof.ledger.entry import TermEntry
from lossproof.ledger.explanation import Explanation
from lossproof.report.wording import number

Kind = Literal["part", "note", "sum", "reported", "residual"]


@dataclass(frozen=True)
class Row:
    """One line: a label, a number for each station of a loss, its factor and what it contributes."""

    kind: Kind
    label: str
    stations: tuple[float | None, ...] = ()
    weight: str = ""
    contribution: float | None = None


@dataclass(frozen=True)
class Table:
    """The stations that occur, and the rows."""

    stations: tuple[str, ...]
    rows: tuple[Row, ...]


def table_of(explanation: Explanation) -> Table:
    """The table that adds up: parts, total, what Keras reports, what is left over."""
    entry = explanation.entry
    masked = any(term.masked is not None for term in entry.terms)
    weighted = any(term.weighted is not None for term in entry.terms)
    stations = ("per sample", *(("masked",) if masked else ()), *(("weighted",) if weighted else ()), "value")
    rows: list[Row] = []
    for term in entry.terms:
        values = (term.raw, *((term.masked,) if masked else ()), *((term.weighted,) if weighted else ()), term.value)
        rows.append(Row("part", title(term), values, factor(term.weight), term.contribution))
        remark = remark_on(term)
        if remark:
            rows.append(Row("note", remark))
    blank: tuple[float | None, ...] = (None,) * (len(stations) - 1)
    for one in entry.penalties:
        label = f"{one.layer}: {one.what}"
        rows.append(Row("part", label, (*blank, one.value), factor(one.weight), one.contribution))
    rows.append(Row("sum", "total, which training minimises", contribution=entry.total))
    if "loss" in explanation.reported:
        rows.append(
            Row("reported", "loss that fit and train_on_batch report", contribution=explanation.reported["loss"])
        )
    rows.append(Row("residual", "not accounted for", contribution=explanation.residual))
    return Table(stations, tuple(rows))


def title(term: TermEntry) -> str:
    """`rating: mean_squared_error`."""
    return term.name if term.name == term.loss else f"{term.name}: {term.loss}"


def factor(weight: float) -> str:
    """A weight in short."""
    return number(float(weight), trim=True)


def remark_on(term: TermEntry) -> str:
    """What is not usual about how a term is reduced: its reduction, its mask, its weights."""
    parts = []
    if term.reduction != "sum_over_batch_size" and term.reduction is not None:
        parts.append(
            f"reduction {term.reduction} of {term.count} values" if term.count else f"reduction {term.reduction}"
        )
    if term.shown is not None:
        parts.append(f"the mask shows {term.shown} of {term.count}")
    if term.weights is not None:
        mean = "" if term.mean_weight is None else f", {number(term.mean_weight)} on average"
        parts.append(f"{term.weights}{mean}")
    if term.raw is None:
        parts.append("no values for each sample")
    return "; ".join(parts)


def verdict(explanation: Explanation) -> str:
    """Whether it adds up, in one sentence."""
    if explanation.closes:
        size = max(explanation.entry.magnitude, 1e-300)
        return f"It adds up, to {abs(explanation.residual) / size:.0e} of the largest number."
    return f"What is left over: {explanation.cause}."


def heading(explanation: Explanation) -> tuple[str, str]:
    """The model and the batch; the backend."""
    rows = explanation.entry.rows
    batch = f"a batch of {rows} rows" if rows else "a batch"
    rest = f", {explanation.left_out} more were given" if explanation.left_out else ""
    return f"{explanation.model} on {batch}{rest}", f"training mode, {explanation.backend}"


def evaluation_line(explanation: Explanation) -> tuple[str, float] | None:
    """What `evaluate` reports of the batch."""
    loss = explanation.evaluated.get("loss")
    return None if loss is None else ("loss that evaluate reports of this batch", loss)
