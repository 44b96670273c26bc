"""The card of a captured objective: what was trained, on what, and what it came to."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from lossproof.report.report import CaptureCard, TensorCard, TermCard
from lossproof.report.typeset import Typesetter
from lossproof.report.wording import count, number, numbers, place

_GAP = "   "


def call_text(card: CaptureCard) -> str:
    """`fit at train.py:30`."""
    return f"{card.call} at {place(card.where)}" if card.where else card.call


def shape_text(tensor: TensorCard) -> str:
    """`(32, ?)`."""
    inner = ", ".join("?" if n is None else str(n) for n in tensor.shape)
    return f"({inner},)" if len(tensor.shape) == 1 else f"({inner})"


def range_text(tensor: TensorCard) -> str:
    """`-1.2 .. 3.1`, or `all 1`; empty where it is not known."""
    if tensor.low is None and tensor.high is None:
        return ""
    low, high = number(tensor.low, trim=True), number(tensor.high, trim=True)
    return f"all {low}" if low == high else f"{low} .. {high}"


def title(term: TermCard) -> str:
    """The term in words, each name once: `rating: SquaredError`, `kl: kl of output latent`."""
    title = term.name if term.name == term.loss else f"{term.name}: {term.loss}"
    return title if term.output in (None, term.name) else f"{title}, output {term.output}"


def short_title(term: TermCard) -> str:
    """The term's name, with its output where the name does not say it."""
    return term.name if term.output in (None, term.name) else f"{term.name}, output {term.output}"


def _by_point(texts: list[str]) -> list[str]:
    """The numbers filled up on the right so that their decimal points line up when aligned on the right."""
    decimals = [len("".join(text.partition(".")[1:])) for text in texts]
    return [text + " " * (max(decimals) - n) for text, n in zip(texts, decimals, strict=True)]


def _grid(rows: Sequence[Sequence[str]], right: frozenset[int], sheet: Typesetter, indent: int) -> None:
    """Columns as wide as they need to be; those in `right` are aligned on their right. The first row is the head."""
    cells = [[sheet.text(sheet.one_line(text)) for text in row] for row in rows]
    widths = [max(row[k].cell_len for row in cells) for k in range(len(cells[0]))]
    for n, row in enumerate(cells):
        line = Text(" " * indent)
        for k, (cell, width) in enumerate(zip(row, widths, strict=True)):
            if not width:
                continue
            gap = " " * (width - cell.cell_len)
            line.append(gap if k in right else "").append_text(cell).append(("" if k in right else gap) + _GAP)
        if n == 0:
            line.stylize("dim")
        sheet.print(line)


def _tensors(terms: Sequence[TermCard], sheet: Typesetter) -> None:
    rows: list[tuple[str, str, str, str]] = [("received", "shape", "dtype", "range")]
    for term in terms:
        rows.append((title(term), "", "", ""))
        weights = (term.sample_weight,) if term.sample_weight else ()
        rows += [
            ("  " + tensor.name, shape_text(tensor), tensor.dtype, range_text(tensor))
            for tensor in (*term.targets, *term.predictions, *weights)
        ]
    _grid(rows, frozenset(), sheet, 1)


def _sums(card: CaptureCard, sheet: Typesetter) -> None:
    entries = [(short_title(t), t.value, "" if t.weight is None else number(t.weight, trim=True)) for t in card.terms]
    if card.regularization is not None:
        entries.append(("regularization", card.regularization, ""))
    weighted = any(weight for _, _, weight in entries)
    if card.total is not None and (weighted or [value for _, value, _ in entries] != [card.total]):
        entries.append(("total", card.total, ""))
    if all(value is None for _, value, _ in entries):
        return
    values = _by_point(numbers([value for _, value, _ in entries]))
    rows = [("on this batch", "value", "weight" if weighted else "")]
    rows += [(name, value, weight) for (name, _, weight), value in zip(entries, values, strict=True)]
    sheet.blank()
    _grid(rows, frozenset({1, 2}), sheet, 1)


def _gradient(card: CaptureCard) -> str:
    if card.weights_trainable is None or card.weights_with_gradient is None:
        return ""
    reached, trainable = card.weights_with_gradient, card.weights_trainable
    if reached == trainable:
        return f"The gradient reaches {'the only' if trainable == 1 else f'all {trainable}'} trainable " + (
            "weight." if trainable == 1 else "weights."
        )
    text = f"The gradient reaches {reached} of {count(trainable, 'trainable weight')}"
    return f"{text}, not {', '.join(card.weights_without_gradient)}." if card.weights_without_gradient else f"{text}."


def _seen(card: CaptureCard) -> list[str]:
    """How much of the call was observed, and what was not."""
    lines = []
    if card.shortened:
        lines.append(f"Cut to {card.shortened}; {count(card.steps, 'step')} ran.")
    elif card.steps:
        lines.append(f"{count(card.steps, 'step')} ran.")
    return lines + [f"Not seen: {text.rstrip('.')}." for text in card.unseen]


def facts(card: CaptureCard) -> list[str]:
    """What the gradient reaches, how much of the call was observed, and what was not: a sentence each."""
    return [text for text in (_gradient(card), *_seen(card)) if text]


def print_card(card: CaptureCard, sheet: Typesetter, beside: str = "") -> None:
    """The whole card, with `beside` on the right of its first line."""
    sheet.sides([(call_text(card), "bold")], [(beside, "dim")])
    sheet.paragraph(card.model)
    if card.terms:
        sheet.blank()
        _tensors(card.terms, sheet)
    _sums(card, sheet)
    sheet.blank()
    for text in facts(card):
        sheet.paragraph(text, indent=1, hang=2)


def print_compact(card: CaptureCard, sheet: Typesetter) -> None:
    """The card in a few lines."""
    sheet.paragraph(f"{call_text(card)}, {card.model}", indent=1, hang=2)
    losses = " + ".join(term.loss for term in card.terms)
    total = "" if card.total is None else f"total {number(card.total)}"
    lines = [", ".join(filter(None, (losses, total)))]
    if card.weights_with_gradient != card.weights_trainable:
        lines.append(_gradient(card))
    for text in filter(None, [*lines, *_seen(card)]):
        sheet.paragraph((text, "dim"), indent=3, hang=2)
