from __future__ import annotations

import io
from dataclasses import dataclass, replace

import pytest
from rich.cells import cell_len

from lossproof.report.pages import render_rule, render_rules
from lossproof.report.typeset import console_for


@dataclass(frozen=True)
class Page:
    code: str = "LP101"
    name: str = "batch-broadcast"
    severity: str = "error when weights are given, else note"
    summary: str = "pairs every prediction with every target: y_true and y_pred broadcast across the batch axis"
    explanation: str = (
        "A `(B,)` target against a `(B, 1)` prediction **broadcasts**.\n\n- all pairs [red]are[/] compared\n"
        "- é日本\n\n```python\ny = y[:, None]\n```\n"
    )
    source: tuple[str, ...] = ("keras/src/losses/loss.py [bold]", "a second source")
    guilty: str = "\nimport keras\n\ndef loss(y_true, y_pred):\n    return y_true - y_pred  # expect: LP101\n"
    innocent: str = "x = '[/]'" + " + 'a long line'" * 12 + "\n"
    backends: tuple[str, ...] = ("tensorflow", "jax")


def page(width: int = 80, encoding: str = "utf-8", **changes: object) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    render_rule(replace(Page(), **changes), console_for(file, width=width))
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 200])
def test_a_page_holds_everything_plainly(width):
    shown = page(width)
    assert "\x1b" not in shown
    for text in (
        "LP101 batch-broadcast",
        "error when weights are given, else note",
        "The objective pairs every prediction",
        "A (B,) target against a (B, 1) prediction broadcasts.",
        "- all pairs [red]are[/] compared",
        "y = y[:, None]",
        "Guilty on tensorflow, jax",
        "       return y_true - y_pred  # <- LP101",
        "   " + Page().innocent,
        "keras/src/losses/loss.py [bold]",
        "# lossproof: allow LP101 because <reason>",
    ):
        assert text in shown
    assert "\n\n\n" not in shown
    assert all(line == line.rstrip() for line in shown.split("\n"))


def test_only_code_is_longer_than_the_console():
    long = [line for line in page(60).split("\n") if cell_len(line) > 60]
    assert long == ["   " + Page().innocent.rstrip()]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_page_on_a_console_with_few_characters(encoding):
    assert "- " + "é日本".encode(encoding, "replace").decode(encoding) in page(encoding=encoding)


def test_code_is_coloured_in_a_terminal():
    from rich.console import Console

    file = io.StringIO()
    render_rule(Page(), Console(file=file, width=80, force_terminal=True, color_system="standard", _environ={}))
    (line,) = (line for line in file.getvalue().split("\n") if "import" in line)
    assert "\x1b[" in line


def listed(rules: list[Page], width: int = 80) -> list[str]:
    file = io.StringIO()
    render_rules(rules, console_for(file, width=width))
    return file.getvalue().rstrip("\n").split("\n")


def test_rules_are_listed_by_code_and_family():
    rules = [Page(code=code, summary="is wrong.") for code in ("LP204", "LP101", "XY100")]
    lines = [line.split() for line in listed(rules)]
    assert [words[0] if words else "" for words in lines] == ["Shape", "LP101", "", "Gradients", "LP204", "", "XY100"]
    assert lines[1] == ["LP101", "batch-broadcast", "error", "is", "wrong"]


@pytest.mark.parametrize("width", [80, 200])
def test_summaries_are_aligned(width):
    lines = listed([Page(), Page(code="LP102", name="a-longer-name-of-a-rule", summary="is " + "wrong " * 20)], width)
    at = lines[1].index("pairs")
    assert lines[1].startswith(" LP101  batch-broadcast")
    assert all(cell_len(line) <= width for line in lines)
    assert all(line[at - 1] == " " and line[at] != " " for line in lines[1:])


def test_no_rules():
    assert listed([]) == ["No rules."]
