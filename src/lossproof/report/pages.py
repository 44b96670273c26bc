"""What `lossproof explain CODE` and `lossproof rules` show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.console import Console, RenderableType
from rich.markdown import Markdown
from rich.syntax import Syntax
from rich.text import Text

from lossproof.report.typeset import Typesetter

FAMILIES = {
    "LP1": "Shape and reduction",
    "LP2": "Gradients",
    "LP3": "Execution",
    "LP4": "Wiring",
    "LP5": "Run state",
    "LP6": "Persistence",
    "LP7": "Distribution",
}


class RulePage(Protocol):
    """What a page needs to know of a rule."""

    @property
    def code(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def explanation(self) -> str: ...
    @property
    def source(self) -> Sequence[str]: ...
    @property
    def guilty(self) -> str: ...
    @property
    def innocent(self) -> str: ...
    @property
    def backends(self) -> Sequence[str]: ...


def _style(severity: str) -> str:
    """The colour of the first severity that is named."""
    return {"error": "red", "warning": "yellow", "note": "cyan"}.get(severity.split(maxsplit=1)[0].strip(",/"), "")


def render_rule(rule: RulePage, console: Console) -> None:
    """The page of one rule: what it finds, why, a guilty and an innocent script, and where the facts come from."""
    sheet = Typesetter(console)
    sheet.sides([(rule.code, f"bold {_style(rule.severity)}"), " ", (rule.name, "bold")], [rule.severity])
    sheet.paragraph(f"The objective {rule.summary.strip().rstrip('.')}.")
    sheet.blank()
    _block(Markdown(rule.explanation.strip(), code_theme="ansi_dark", hyperlinks=False), sheet, sheet.measure - 1)
    for title, code in (("Guilty", rule.guilty), ("Innocent", rule.innocent)):
        sheet.blank()
        sheet.paragraph((title, "bold"), f" on {', '.join(rule.backends)}" if title == "Guilty" else "")
        sheet.blank()
        marked = code.strip("\n").replace(f"# expect: {rule.code}", f"# <- {rule.code}")
        width = max(sheet.width - 3, *(len(line) for line in marked.split("\n")))
        syntax = Syntax(marked, "python", theme="ansi_dark", background_color="default", code_width=width)
        _block(syntax, sheet, width, indent=3)
    if rule.source:
        sheet.blank()
        sheet.paragraph(("Source", "bold"))
        for text in rule.source:
            sheet.paragraph(text, indent=1, hang=2)
    sheet.blank()
    sheet.line("Intended?  ", (f"# lossproof: allow {rule.code} because <reason>", "cyan"))


def _block(content: RenderableType, sheet: Typesetter, width: int, indent: int = 1) -> None:
    """Anything rich can show, in characters that the console has, without spaces at the ends of lines or wide gaps."""
    options = sheet.console.options.update(width=width)
    lines: list[Text] = []
    for segments in sheet.console.render_lines(content, options, pad=False):
        line = Text(" " * indent)
        for text, style, control in segments:
            if not control:
                line.append(sheet.clean(text.replace("\u2022", "-")), style)
        line.rstrip()
        if line or (lines and lines[-1]):
            lines.append(line)
    while lines and not lines[-1]:
        lines.pop()
    sheet.print(*lines)


def render_rules(rules: Iterable[RulePage], console: Console) -> None:
    """All rules, by family: code, name, usual severity, and what the objective does."""
    sheet = Typesetter(console)
    listed = sorted(rules, key=lambda rule: rule.code)
    if not listed:
        sheet.paragraph("No rules.")
        return
    names = max(len(rule.name) for rule in listed)
    family = None
    for rule in listed:
        if rule.code[:3] != family:
            if family is not None:
                sheet.blank()
            family = rule.code[:3]
            if family in FAMILIES:
                sheet.paragraph((FAMILIES[family], "bold"))
        severity = rule.severity.split(maxsplit=1)[0].strip(",/")
        sheet.paragraph(
            (rule.code, "bold"),
            f"  {rule.name:<{names}}  ",
            (f"{severity:<7}", _style(severity)),
            f"  {rule.summary.strip().rstrip('.')}",
            indent=1,
            hang=len(rule.code) + names + 13,
        )
