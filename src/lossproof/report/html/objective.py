"""The tables of an objective's card."""

from __future__ import annotations

from lossproof.report.card import range_text, shape_text, short_title, title
from lossproof.report.html.chart import Table
from lossproof.report.report import CaptureCard
from lossproof.report.wording import number, numbers


def tensors(card: CaptureCard) -> Table:
    """What each loss received."""
    rows = [
        (title(term), tensor.name, shape_text(tensor), tensor.dtype, range_text(tensor))
        for term in card.terms
        for tensor in (*term.targets, *term.predictions, *((term.sample_weight,) if term.sample_weight else ()))
    ]
    return Table(("loss", "received", "shape", "dtype", "range"), tuple(rows))


def sums(card: CaptureCard) -> Table:
    """The values on the batch, with their weights and the total."""
    entries = [(short_title(term), term.value, term.weight) for term in card.terms]
    if card.regularization is not None:
        entries.append(("regularization", card.regularization, None))
    if card.total is not None:
        entries.append(("total", card.total, None))
    values = numbers([value for _, value, _ in entries])
    columns = 3 if any(weight is not None for _, _, weight in entries) else 2
    rows = (
        (name, value, "" if weight is None else number(weight, trim=True))[:columns]
        for (name, _, weight), value in zip(entries, values, strict=True)
    )
    return Table(("on this batch", "value", "weight")[:columns], tuple(rows))
