"""The table of a counterfactual: the same measurements as written and with one thing changed."""

from __future__ import annotations

from rich.text import Text

from lossproof.findings.finding import Counterfactual, Row
from lossproof.report.typeset import Typesetter
from lossproof.report.wording import numbers

_GAP = "   "
_INDENT = 3
# Longer texts than this (an exception, say) are set in lines of their own instead of a column.
_WIDEST_VALUE = 24
_NARROWEST_REMARK = 16


def rows_of(proof: Counterfactual) -> list[Row]:
    """The measurement that the change moves, then the further ones."""
    first = Row(proof.label, proof.before, proof.after)
    return ([] if proof.before is None and proof.after is None else [first]) + list(proof.rows)


def print_table(proof: Counterfactual, sheet: Typesetter) -> None:
    """Write the table of `proof`; values that are too long for columns stand below their labels instead."""
    rows = rows_of(proof)
    if not rows:
        return
    shown = numbers([value for row in rows for value in (row.before, row.after)])
    cells = [
        [sheet.text(sheet.one_line(text)) for text in (row.label, shown[2 * k], shown[2 * k + 1], row.remark)]
        for k, row in enumerate(rows)
    ]
    heads = [sheet.text(sheet.one_line(head)) for head in proof.columns]
    widths = [
        max(row[0].cell_len for row in cells),
        max(heads[0].cell_len, *(row[1].cell_len for row in cells)),
        max(heads[1].cell_len, *(row[2].cell_len for row in cells)),
    ]
    room = sheet.measure - _INDENT - sum(widths) - 2 * len(_GAP)
    if room < 0 or any(row[k].cell_len > _WIDEST_VALUE for row in cells for k in (1, 2)):
        _stacked(cells, heads, sheet)
    else:
        _columns(cells, heads, widths, room - len(_GAP), sheet)


def _columns(cells: list[list[Text]], heads: list[Text], widths: list[int], room: int, sheet: Typesetter) -> None:
    def line(label: Text, before: Text, after: Text) -> Text:
        out = Text(" " * _INDENT).append_text(label).append(" " * (widths[0] - label.cell_len))
        for text, width in ((before, widths[1]), (after, widths[2])):
            out.append(_GAP + " " * (width - text.cell_len)).append_text(text)
        return out

    for head in heads:
        head.stylize("dim")
    sheet.print(line(Text(), heads[0], heads[1]))
    left = _INDENT + sum(widths) + 3 * len(_GAP)
    for label, before, after, remark in cells:
        remark.stylize("dim")
        if room >= min(_NARROWEST_REMARK, remark.cell_len):
            first, *more = sheet.wrap(remark, room)
            sheet.print(line(label, before, after).append(_GAP).append_text(first))
            sheet.print(*(Text(" " * left).append_text(rest) for rest in more))
        else:
            lines = sheet.wrap(remark, sheet.measure - _INDENT - 2)
            sheet.print(line(label, before, after))
            sheet.print(*(Text(" " * (_INDENT + 2)).append_text(rest) for rest in lines))


def _stacked(cells: list[list[Text]], heads: list[Text], sheet: Typesetter) -> None:
    width = max(head.cell_len for head in heads)
    left = _INDENT + 2 + width + len(_GAP)
    for label, before, after, remark in cells:
        sheet.print(*(Text(" " * _INDENT).append_text(part) for part in sheet.wrap(label, sheet.measure - _INDENT)))
        for head, value in zip(heads, (before, after), strict=True):
            lines = sheet.wrap(value, sheet.measure - left)
            start = Text(" " * (_INDENT + 2)).append(head.plain, "dim").append(" " * (width - head.cell_len) + _GAP)
            sheet.print(start.append_text(lines[0]), *(Text(" " * left).append_text(part) for part in lines[1:]))
        if remark.plain:
            remark.stylize("dim")
            lines = sheet.wrap(remark, sheet.measure - _INDENT - 2)
            sheet.print(*(Text(" " * (_INDENT + 2)).append_text(part) for part in lines))
