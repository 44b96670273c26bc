"""A source line with carets and labels under its parts."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from lossproof.findings.finding import Label, Place
from lossproof.report.typeset import Typesetter

ELLIPSIS = "..."
_TAB = 4
_JOINER = "\u200d"
_MOST_LINES = 8


@dataclass(frozen=True)
class _Window:
    text: str
    start: int
    """The cell of the whole line that corresponds to the left edge, where an ellipsis may stand."""
    end: int
    """The cell of the whole line at which the cut ends."""


@dataclass(frozen=True)
class _Shown:
    """A source line as it appears, and the cell at which each of its characters starts (one more for the end)."""

    text: str
    cells: tuple[int, ...]
    ends: tuple[int, ...]
    """The length of the shown text before each character, matching `cells`."""

    def window(self, width: int, first: int, last: int) -> _Window:
        """The line cut to `width` cells around the cells `first` to `last`, with an ellipsis for what is left out."""
        end = len(self.cells) - 1
        total = self.cells[end]
        if total <= width:
            return _Window(self.text, 0, total)
        inner = width - 2 * len(ELLIPSIS)
        start = max(0, first - max(0, inner - (last - first)) // 2)
        if start <= len(ELLIPSIS):
            start = 0
        start = min(start, total - inner - len(ELLIPSIS))
        a = next(k for k, cell in enumerate(self.cells) if cell >= start)
        left = ELLIPSIS if a else ""
        if self.cells[a] + width - len(left) >= total:
            b = end
        else:
            b = max(k for k, cell in enumerate(self.cells) if cell <= self.cells[a] + width - len(left + ELLIPSIS))
        cut = self.text[self.ends[a] : self.ends[b]]
        return _Window(f"{left}{cut}{ELLIPSIS if b < end else ''}", self.cells[a] - len(left), self.cells[b])


@dataclass(frozen=True)
class _Mark:
    start: int
    end: int
    text: str


def _shown(line: str, sheet: Typesetter) -> _Shown:
    text, cells, ends = "", [0], [0]
    # Joiners and combining marks change the width of what stands before them, so it is measured again with each, back
    # to the last plain character.
    tail, before = 0, 0
    for char in line:
        text += " " * (_TAB - cells[-1] % _TAB) if char == "\t" else sheet.clean(char)
        if char.isascii() and not text[tail : ends[-1]].endswith(_JOINER):
            tail, before = ends[-1], cells[-1]
        cells.append(max(cells[-1], before + cell_len(text[tail:])))
        ends.append(len(text))
    return _Shown(text, tuple(cells), tuple(ends))


def _dedented(source: str) -> tuple[list[str], int]:
    """The lines of `source` without their common indentation, and its length in characters."""
    lines = [line.rstrip() for line in source.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    margins = [len(line) - len(line.lstrip()) for line in lines if line]
    margin = min(margins, default=0)
    return [line[margin:] for line in lines], margin


def _spans(where: Place, length: int, *, lines: int) -> tuple[list[Label], list[str]]:
    """What carets stand under, and remarks on the whole, which stand beside the labels.

    A label around another one says what the parts give together, so that carets under it would only blur them; an
    empty label marks nothing either.
    """
    if not where.labels:
        if where.column is None:
            return [], []
        end = where.end_column
        # An expression that goes on below ends in another line: all of this one belongs to it.
        if end is None or end <= where.column or lines > 1 or "\n" in (where.expression or ""):
            end = length
        return [Label(where.column, end, "")], []
    merged: dict[tuple[int, int], str] = {}
    for label in sorted(where.labels, key=lambda lab: (lab.column, lab.end_column)):
        key = (label.column, label.end_column)
        merged[key] = f"{merged[key]}, {label.text}" if key in merged else label.text
    labels = [Label(*key, text) for key, text in merged.items()]
    outer = [a for a in labels if a.column >= min(a.end_column, length) or any(_around(a, b) for b in labels)]
    return [a for a in labels if a not in outer], [
        a.text for a in sorted(outer, key=lambda lab: (lab.end_column - lab.column, lab.column))
    ]


def _around(a: Label, b: Label) -> bool:
    return a != b and b.column < b.end_column and a.column <= b.column and b.end_column <= a.end_column


def _label_rows(marks: list[_Mark], beside: list[str], width: int) -> list[str]:
    """Lines that hold the marks' texts, each under its carets or, where it would collide, further down on a stem."""
    rows: list[list[tuple[int, str]]] = [[]]

    def free(row: int, start: int, end: int) -> bool:
        return all(end + 2 <= at or at + cell_len(text) + 2 <= start for at, text in rows[row])

    for mark in sorted(marks, key=lambda m: -m.start):
        size = cell_len(mark.text)
        start = max(0, min(mark.start, width - size))
        row = 0
        while row < len(rows) and not free(row, start, start + size):
            row += 1
        if row == len(rows):
            rows.append([])
        rows[row].append((start, mark.text))
        for k in range(row):
            if all(not at <= mark.start < at + cell_len(text) for at, text in rows[k]):
                rows[k].append((mark.start, "|"))
    for text in beside:
        end = max((at + cell_len(word) for at, word in rows[0]), default=-3)
        if end + 3 + cell_len(text) <= width:
            rows[0].append((end + 3, text))
        else:
            start = min((m.start for m in marks), default=0)
            rows.append([(max(0, min(start, width - cell_len(text))), text)])
    return [_laid(row) for row in rows if row]


def _laid(row: list[tuple[int, str]]) -> str:
    line = ""
    for at, text in sorted(row):
        line += " " * (at - cell_len(line)) + text
    return line


def snippet(where: Place, sheet: Typesetter, style: str) -> list[Text]:
    """The source line of `where` with its number, carets in `style` and labels; empty where there is no source.

    Columns of `where` and its labels count characters of the first line of `source`. A line too long for the console
    is cut around what is labelled.
    """
    if where.source is None or not where.source.strip():
        return []
    lines, margin = _dedented(where.source)
    more = len(lines) > _MOST_LINES
    lines = lines[:_MOST_LINES]
    digits = max(2, len(str(where.line + len(lines) - 1)))
    width = sheet.width - digits - 5
    shown = _shown(lines[0], sheet)
    last = len(shown.cells) - 1

    def cell(column: int) -> int:
        return shown.cells[max(0, min(column - margin, last))]

    labels, beside = _spans(where, last + margin, lines=len(lines))
    beside = [sheet.one_line(text) for text in beside]
    marks = [_Mark(cell(s.column), cell(s.end_column), sheet.one_line(s.text)) for s in labels]
    cut = shown.window(width, min((m.start for m in marks), default=0), max((m.end for m in marks), default=0))
    visible, elsewhere = [], []
    for span, mark in zip(labels, marks, strict=True):
        if mark.start < cut.end or cut.end == shown.cells[-1]:
            visible.append(_Mark(mark.start - cut.start, min(mark.end, cut.end) - cut.start, mark.text))
        elif mark.text:
            part = lines[0][max(0, span.column - margin) : max(0, span.end_column - margin)]
            elsewhere.append(f"{sheet.one_line(part)}: {mark.text}")

    def row(number: str, content: str, style: str = "") -> Text:
        return Text(f" {number:>{digits}} ").append("|  ", "dim").append(content, style or None)

    out = [row(str(where.line), cut.text)]
    under = {at for m in visible for at in range(m.start, max(m.end, m.start + 1))}
    carets = "".join("^" if at in under else " " for at in range(max(under, default=-1) + 1))
    notes = _label_rows([m for m in visible if m.text], beside, width) + elsewhere
    out += [row("", words, style) for words in [carets, *notes] if words]
    for k, line in enumerate(lines[1:], start=1):
        out.append(row(str(where.line + k), _shown(line, sheet).window(width, 0, 0).text))
    if more:
        out.append(row("", ELLIPSIS))
    return out
