"""An explanation as HTML for a notebook: a table and a list. All text of the user's is escaped."""

from __future__ import annotations

from html import escape

from lossproof.ledger.explanation import Explanation
from lossproof.ledger.layout import evaluation_line, heading, table_of, verdict
from lossproof.ledger.terminal import digits
from lossproof.report.wording import printable

_STYLE = (
    "<style>"
    ".lossproof-explain{font-family:system-ui,sans-serif;line-height:1.45;overflow-x:auto}"
    ".lossproof-explain table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    ".lossproof-explain th,.lossproof-explain td{padding:.15em .7em;text-align:right;border:0;background:none}"
    ".lossproof-explain th:first-child,.lossproof-explain td:first-child{text-align:left}"
    ".lossproof-explain tr.sum>*{border-top:1px solid currentColor;font-weight:600}"
    ".lossproof-explain tr.reported>*{font-weight:600}"
    ".lossproof-explain .note,.lossproof-explain .dim{opacity:.75}"
    "</style>"
)


def _safe(text: str) -> str:
    return escape(printable(text))


def to_html(explanation: Explanation) -> str:
    """A fragment that needs nothing else, and no network."""
    table = table_of(explanation)
    left, right = heading(explanation)
    columns = len(table.stations) + 3
    head = "".join(
        f'<th scope="col">{_safe(one)}</th>' for one in ("part", *table.stations, "x weight", "contribution")
    )
    rows = []
    for row in table.rows:
        if row.kind == "note":
            rows.append(f'<tr class="note"><td colspan="{columns}">{_safe(row.label)}</td></tr>')
            continue
        stations = row.stations or (None,) * len(table.stations)
        last = digits(row.contribution) if row.kind != "residual" else f"{row.contribution or 0.0:.1e}"
        cells = [*(digits(value) for value in stations), row.weight, last]
        body = "".join(f"<td>{_safe(cell)}</td>" for cell in cells)
        rows.append(f'<tr class="{row.kind}"><th scope="row">{_safe(row.label)}</th>{body}</tr>')
    parts = [
        f'{_STYLE}<div class="lossproof-explain">',
        f'<p><strong>{_safe(left)}</strong> <span class="dim">{_safe(right)}</span></p>',
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>",
        f"<p>{_safe(verdict(explanation))}</p>",
    ]
    line = evaluation_line(explanation)
    if line is not None:
        parts.append(f"<p>The {_safe(line[0])}: {_safe(digits(line[1]))}.</p>")
    if explanation.reasons:
        items = []
        for reason in explanation.reasons:
            numbers = "".join(
                f"<tr><td>{_safe(label)}</td><td>{_safe(digits(value))}</td></tr>" for label, value in reason.numbers
            )
            items.append(f"<dt>{_safe(reason.name)}</dt><dd>{_safe(reason.text)}<table>{numbers}</table></dd>")
        parts.append(
            f"<details open><summary>Why the bar shows something else</summary><dl>{''.join(items)}</dl></details>"
        )
    return "".join([*parts, "</div>"])
