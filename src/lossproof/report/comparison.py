"""A comparison as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from lossproof.report.compared import Comparison, Divergence, Side
from lossproof.report.typeset import Typesetter
from lossproof.report.wording import count, number, sentence

_GAP = 3


def render(comparison: Comparison, console: Console) -> None:
    """Write the comparison to `console`; nothing of it is read as rich markup."""
    sheet = Typesetter(console)
    _sides(comparison.a, comparison.b, sheet)
    sheet.blank()
    for k, one in enumerate(comparison.divergences):
        _divergence(one, k, sheet)
        sheet.blank()
    for note in comparison.notes:
        sheet.paragraph(("Notice: ", "bold"), sentence(note), hang=2)
    if comparison.notes:
        sheet.blank()
    sheet.paragraph((_verdict(comparison), "bold green" if comparison.same else "bold red"))


def _sides(a: Side, b: Side, sheet: Typesetter) -> None:
    rows = [("", "A", "B"), ("run", a.name, b.name)]
    for label, one, two in (
        ("training", f"{a.call} at {a.where}", f"{b.call} at {b.where}"),
        ("backend", f"{a.backend}, {a.mode}", f"{b.backend}, {b.mode}"),
        ("objective", a.objective, b.objective),
        ("optimizer", a.optimizer, b.optimizer),
    ):
        rows.append((label, one, two))
    _table(rows, sheet, 1)


def _divergence(one: Divergence, k: int, sheet: Typesetter) -> None:
    style = "bold red" if k == 0 else "bold yellow"
    head = "First divergence" if k == 0 else "Then"
    sheet.line((f"{head}: ", style), (one.kind, style))
    sheet.paragraph((sentence(one.title), "bold"), indent=1)
    if one.remark:
        sheet.paragraph(sentence(one.remark), indent=1)
    sheet.blank()
    rows = [("", "A", "B"), *((row.label, row.a, row.b) for row in one.rows)]
    _table(rows, sheet, 3)
    bound = f", where rounding explains {number(one.tolerance, trim=True)}" if one.tolerance else ""
    if one.unit:
        sheet.paragraph((f"{one.unit}: {number(one.size, trim=True)}{bound}", "dim"), indent=3, hang=2)
    sheet.blank()
    said = one.after if one.transplant is None else f"B again, with {one.transplant} of A: {one.after}"
    proof = ("Proof: ", "bold") if one.proven else ("Not proven: ", "bold yellow")
    sheet.paragraph(proof, sentence(said), indent=1, hang=2)


def _verdict(comparison: Comparison) -> str:
    seen = f"{count(comparison.trainings, 'training')}, {count(comparison.steps, 'step')} of each"
    if comparison.same:
        return f"The runs are the same up to rounding ({seen})."
    kinds = ", then ".join(one.kind for one in comparison.divergences)
    return f"The runs differ: {kinds} ({seen})."


def _table(rows: Sequence[tuple[str, str, str]], sheet: Typesetter, indent: int) -> None:
    cells = [[sheet.one_line(text) for text in row] for row in rows]
    widths = [max(len(row[k]) for row in cells) for k in range(3)]
    if indent + sum(widths) + 2 * _GAP > sheet.measure:
        _stacked(cells, sheet, indent)
        return
    for n, row in enumerate(cells):
        line = Text(" " * indent)
        for k, text in enumerate(row):
            line.append(f"{text:<{widths[k]}}" + " " * _GAP, "dim" if n == 0 or k == 0 else "")
        sheet.print(line)


def _stacked(cells: Sequence[Sequence[str]], sheet: Typesetter, indent: int) -> None:
    for label, a, b in cells[1:]:
        sheet.paragraph((label, "dim"), indent=indent)
        for side, text in (("A", a), ("B", b)):
            if text:
                sheet.paragraph((f"{side}  ", "dim"), text, indent=indent + 2, hang=3)
