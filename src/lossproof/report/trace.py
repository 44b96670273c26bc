"""A trace as a person reads it: the source of a loss, and under each line what its expressions gave."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from lossproof.report.report import TensorCard
from lossproof.report.traced import Expression, Gradient, TracedCapture, TracedFunction, TracedTerm, TraceReport, Values
from lossproof.report.typeset import Typesetter
from lossproof.report.wording import count, number, place, sentence

_GAP = 2
_NARROWEST = 12
"""Cells that the text of an expression gets at least."""
_WIDEST = 60
_MOST_PARTS = 8
"""Tensors of one list or dict that are shown."""
_INDENT = 2
NONE = "no gradient"


def render(report: TraceReport, console: Console) -> None:
    """Write the trace to `console`; nothing of it is read as rich markup."""
    sheet = Typesetter(console)
    for capture in report.captures:
        _capture(capture, report, sheet)
    for notice in report.notices:
        sheet.paragraph(("Notice: ", "bold"), sentence(notice), hang=2)
    if report.script_error is not None:
        for line in report.script_error.traceback.rstrip("\n").split("\n"):
            sheet.line(line.expandtabs(4))
    terms = [term for capture in report.captures for term in capture.terms]
    expressions = sum(len(f.expressions) for term in terms for f in term.functions)
    sheet.paragraph(
        (f"{count(len(terms), 'loss').replace('losss', 'losses')}, {count(expressions, 'expression')}", "bold")
    )


def _capture(capture: TracedCapture, report: TraceReport, sheet: Typesetter) -> None:
    where = f" at {place(capture.where)}" if capture.where else ""
    sheet.sides(
        [(f"{capture.call}{where}", "bold"), f"  {capture.model}"],
        [(f"Keras {report.keras} on {report.backend}", "dim")],
    )
    for text in capture.unseen:
        sheet.paragraph(f"Not seen: {text.rstrip('.')}.", indent=_INDENT, hang=2)
    sheet.blank()
    for term in capture.terms:
        _term(term, report.gradients, sheet)


def _term(term: TracedTerm, gradients: bool, sheet: Typesetter) -> None:
    output = f", output {term.output}" if term.output else ""
    weight = f", weight {number(term.weight, trim=True)}" if term.weight is not None else ""
    value = "" if term.value is None else f"= {number(term.value)}"
    sheet.line((term.name, "bold"), output, weight, "  ", (value, "bold"), indent=1)
    rows = [_Row(card.name, _shape(card.shape), card.dtype, _card_range(card), "", 0) for card in term.received]
    _Table(rows, sheet, 4).print(rows)
    if term.error is not None:
        sheet.paragraph(("It raised ", "bold red"), term.error, indent=_INDENT, hang=2)
    for note in term.notes:
        sheet.paragraph((sentence(note), "dim"), indent=_INDENT, hang=2)
    if not term.functions and not term.notes and term.error is None:
        sheet.paragraph(("Its code is Keras's own, there are no expressions of yours in it.", "dim"), indent=_INDENT)
    sheet.blank()
    for function in term.functions:
        _function(function, gradients, sheet)


def _function(function: TracedFunction, gradients: bool, sheet: Typesetter) -> None:
    sheet.line((function.name or "module", "bold"), f"  {place(function.where)}", indent=_INDENT)
    digits = max(2, len(str(function.lines[-1][0])) if function.lines else 2)
    below: defaultdict[int, list[Expression]] = defaultdict(list)
    for expression in function.expressions:
        if not expression.known:
            below[expression.place.line + (expression.place.expression or "").count("\n")].append(expression)
    rows = {line: [row for one in found for row in _rows(one, gradients)] for line, found in below.items()}
    table = _Table([row for found in rows.values() for row in found], sheet, digits + 5)
    for line, text in function.lines:
        if not text.strip() and line not in rows:
            continue
        sheet.print(_source(line, text, digits, sheet))
        if line in rows:
            table.print(rows[line], f" {'':{digits}} | ")
    sheet.blank()


def _source(line: int, text: str, digits: int, sheet: Typesetter) -> Text:
    shown = sheet.clean(text.expandtabs(4))
    room = sheet.width - digits - 5
    if len(shown) > room:
        shown = shown[: room - 3] + "..."
    return Text(f" {line:>{digits}} ").append("|  ", "dim").append(shown, "bold")


@dataclass(frozen=True)
class _Row:
    expression: str
    shape: str
    dtype: str
    range: str
    gradient: str
    bad: int
    """Entries that are NaN or infinite, in the value or the gradient."""


def _rows(expression: Expression, gradients: bool) -> Iterator[_Row]:
    text = " ".join((expression.place.expression or expression.kind).split())
    times = f"  ({expression.times} times)" if expression.times > 1 else ""
    yield from _evaluation(
        text + (f", 1st of {expression.times}" if expression.times > 1 else ""), expression.first, gradients
    )
    if times and expression.last != expression.first:
        yield from _evaluation(f"... {_ordinal(expression.times)}", expression.last, gradients)


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def _evaluation(text: str, values: tuple[Values, ...], gradients: bool) -> Iterator[_Row]:
    for k, one in enumerate(values[:_MOST_PARTS]):
        name = text if not one.part else f"{text}{one.part}" if k == 0 else f"  {one.part}"
        bad = one.nan + one.inf + (one.gradient.nonfinite if one.gradient else 0)
        yield _Row(name, _shape(one.shape), one.dtype, _range(one), _gradient(one) if gradients else "", bad)
    if len(values) > _MOST_PARTS:
        yield _Row(f"  and {len(values) - _MOST_PARTS} more", "", "", "", "", 0)


def _shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return ""
    inner = ", ".join("?" if n is None else str(n) for n in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def _card_range(card: TensorCard) -> str:
    return _between(card.low, card.high)


def _range(one: Values) -> str:
    if one.symbolic:
        return "no values here"
    if one.dtype == "bool" and one.mean is not None:
        shown = f"{100 * one.mean:.0f} % true" if one.shape is not None and one.shape != () else str(bool(one.mean))
    else:
        shown = _between(one.low, one.high)
    bad = [f"{n} {word}" for n, word in ((one.nan, "NaN"), (one.inf, "inf")) if n]
    return ", ".join(filter(None, [shown, *bad]))


def _between(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    a, b = number(low, trim=True), number(high, trim=True)
    return a if a == b else f"{a} .. {b}"


def _gradient(one: Values) -> str:
    if one.gradient is None:
        return NONE if one.cut else ""
    return _gradient_text(one.gradient)


def _gradient_text(gradient: Gradient) -> str:
    bad = f"{gradient.nonfinite} not finite" if gradient.nonfinite else ""
    if gradient.norm is None:
        return bad
    inside = _between(gradient.low, gradient.high)
    return ", ".join(filter(None, [f"norm {number(gradient.norm, trim=True)}", inside, bad]))


class _Table:
    """Rows with columns of equal widths; what is too wide is cut in its middle, or goes to a line of its own."""

    def __init__(self, rows: list[_Row], sheet: Typesetter, gutter: int) -> None:
        self._sheet = sheet
        self._widths = [
            max((len(getattr(row, name)) for row in rows), default=0) for name in ("shape", "dtype", "range")
        ]
        fixed = sum(width + _GAP for width in self._widths if width)
        gradient = max((len(row.gradient) for row in rows), default=0)
        wanted = min(_WIDEST, max((len(row.expression) for row in rows), default=0))
        room = sheet.width - gutter - fixed
        self._beside = bool(gradient) and room - gradient - _GAP >= min(wanted, 2 * _NARROWEST)
        if self._beside:
            room -= gradient + _GAP
        self._first = max(_NARROWEST, min(room, wanted))

    def print(self, rows: list[_Row], gutter: str = "    ") -> None:
        """Write some of the rows."""
        for row in rows:
            line = Text(gutter, "dim")
            line.append(self._cut(row.expression), "red" if row.bad else "")
            columns = zip(
                (row.shape, row.dtype, row.range), self._widths, ("cyan", "dim", "red" if row.bad else ""), strict=True
            )
            for text, width, style in columns:
                if width:
                    line.append(" " * _GAP).append(f"{text:<{width}}", style)
            if row.gradient == NONE and not self._beside:
                line.rstrip()
            fits = self._beside or line.cell_len + _GAP + len(row.gradient) <= self._sheet.width
            if row.gradient and fits:
                line.append(" " * _GAP).append(row.gradient, "magenta")
            self._sheet.print(line)
            if row.gradient and not fits:
                self._sheet.print(Text(gutter, "dim").append("  gradient: ", "dim").append(row.gradient, "magenta"))

    def _cut(self, text: str) -> str:
        text = self._sheet.one_line(text)
        if len(text) > self._first:
            keep = self._first - 3
            text = text[: keep - keep // 3] + "..." + text[len(text) - keep // 3 :]
        return f"{text:<{self._first}}"
