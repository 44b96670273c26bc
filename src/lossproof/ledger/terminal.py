"""An explanation as a person reads it in a terminal of any width."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from lossproof.ledger.explanation import Explanation
from lossproof.ledger.layout import Row, Table, evaluation_line, heading, table_of, verdict
from lossproof.report.typeset import Typesetter
from lossproof.report.wording import number

_GAP = 2
_DIGITS = 7
_NARROWEST_LABEL = 16


def render(explanation: Explanation, console: Console) -> None:
    """Write the table and the reasons to `console`; nothing of the user's is read as markup."""
    sheet = Typesetter(console)
    left, right = heading(explanation)
    sheet.sides([(left, "bold")], [(right, "dim")])
    sheet.blank()
    _table(table_of(explanation), sheet)
    sheet.blank()
    sheet.paragraph((verdict(explanation), "" if explanation.closes else "bold yellow"), indent=1)
    line = evaluation_line(explanation)
    if line is not None:
        sheet.paragraph(f"The {line[0]}: {digits(line[1])}.", indent=1)
    if explanation.reasons:
        sheet.blank()
        sheet.paragraph(("Why the bar shows something else", "bold"))
    for reason in explanation.reasons:
        sheet.blank()
        sheet.paragraph((f"{reason.name}: ", "bold"), reason.text, indent=1, hang=2)
        width = max(len(label) for label, _ in reason.numbers)
        for label, value in reason.numbers:
            sheet.line(f"{label:<{width}}   {digits(value):>12}", indent=5)


def digits(value: float | None) -> str:
    """A number with enough digits to check a sum by hand."""
    if value is None:
        return ""
    size = abs(value)
    if size == 0.0 or not 1e-4 <= size < 1e7:
        return number(float(value)) if size else "0"
    whole = len(str(int(size)))
    return f"{value:.{max(_DIGITS - whole, 0)}f}"


def _cells(row: Row, table: Table) -> list[str]:
    if row.kind == "residual" and row.contribution is not None:
        return [*([""] * len(table.stations)), "", f"{row.contribution:.1e}"]
    stations = row.stations or (None,) * len(table.stations)
    return [*(digits(value) for value in stations), row.weight, digits(row.contribution)]


def _table(table: Table, sheet: Typesetter) -> None:
    heads = [*table.stations, "x weight", "contribution"]
    body = [_cells(row, table) for row in table.rows]
    widths = [max(len(head), *(len(cells[k]) for cells in body)) for k, head in enumerate(heads)]
    room = sheet.measure - 1 - sum(widths) - _GAP * len(widths)
    label_width = max(min(room, max(len(row.label) for row in table.rows if row.kind != "note")), _NARROWEST_LABEL)
    narrow = room < _NARROWEST_LABEL  # then a label stands in a line of its own
    label_width = 2 if narrow else label_width
    _line(Text(), heads, widths, label_width, sheet, "dim")
    for row, cells in zip(table.rows, body, strict=True):
        if row.kind == "note":
            sheet.paragraph((row.label, "dim"), indent=3, hang=2)
            continue
        if row.kind == "sum":
            rule = "-" * widths[-1]
            _line(Text(), [*([""] * (len(heads) - 1)), rule], widths, label_width, sheet, "dim")
        style = "bold" if row.kind in ("sum", "reported") else ""
        label = sheet.text((sheet.one_line(row.label), style))
        # The columns of stations are empty in a sum, so that its label may reach into them.
        free = label_width
        for width, cell in zip(widths, cells, strict=True):
            if cell:
                break
            free += width + _GAP
        if narrow or label.cell_len > free:
            first, *more = sheet.wrap(label, sheet.measure - 1, 2)
            sheet.print(*(Text(" ").append_text(one) for one in (first, *more)))
            label = Text()
        _line(label, cells, widths, label_width, sheet, style)


def _line(label: Text, cells: list[str], widths: list[int], first: int, sheet: Typesetter, style: str) -> None:
    line = Text(" ").append_text(label)
    position = 1 + first
    for cell, width in zip(cells, widths, strict=True):
        position += _GAP + width
        if cell:
            line.append(" " * max(position - len(cell) - line.cell_len, 1)).append(cell, style or None)
    sheet.print(line)
