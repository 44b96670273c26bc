from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from lossproof.findings.finding import Counterfactual, Finding, Fix, Place, Row, Severity
from lossproof.report.report import Report
from lossproof.report.terminal import render
from lossproof.report.typeset import console_for

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = "LOSSPROOF_UPDATE_SNAPSHOTS"  # set it to write the snapshots anew, then read the difference
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def rendered(report: Report, width: int = 80, *, verbose: bool = False) -> str:
    file = io.StringIO()
    render(report, console_for(file, width=width), verbose=verbose)
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_snapshot(sample, width):
    name, report = sample
    path = SNAPSHOTS / f"{name}-{width}.txt"
    shown = rendered(report, width)
    if os.environ.get(UPDATE):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8"), f"set {UPDATE}=1 if the change is meant"


def test_every_number_of_the_house_sample_is_shown(paired):
    shown = rendered(paired)
    table = [re.split(r"\s{3,}", line.strip()) for line in shown.split("\n") if re.search(r"\d\.\d{3}", line)]
    assert ["loss on this batch", "8.119", "12.744"] in table
    assert ["with y_true shuffled", "8.119", "6.836", "pairing is ignored"] in table
    assert ["with y_pred = y_true", "12.225", "0.000", "a perfect model"] in table


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize(("width", "widest"), [(80, 80), (200, 100)])
def test_lines_fit_and_end_in_no_space(sample, width, widest, verbose):
    error = sample[1].script_error
    shown = rendered(sample[1], width, verbose=verbose)
    # A traceback stands as Python shows it.
    for line in shown.replace(error.traceback if error else "-" * 999, "").split("\n"):
        assert cell_len(line) <= widest
        assert line == line.rstrip()


@pytest.mark.parametrize("width", [1, 20, 40])
def test_narrow_consoles_lose_no_word(sample, width):
    def words(text: str) -> set[str]:
        # Of source lines only a part fits.
        return {word for line in text.split("\n") if " |  " not in line for word in line.replace(",", " ").split()}

    assert words(rendered(sample[1], 200)) <= words(rendered(sample[1], width))


def test_piped_output_is_plain_and_80_wide(sample):
    file = io.StringIO()
    console = console_for(file)
    assert console.width == 80
    render(sample[1], console)
    assert "\x1b" not in file.getvalue()
    assert file.getvalue() == rendered(sample[1], 80)


def test_piped_process_writes_no_escapes():
    """A process of its own, as `lossproof check train.py > log` is: no forced console, the environment decides."""
    code = (
        "from lossproof.findings.finding import *; from lossproof.report.report import Report\n"
        "from lossproof.report.terminal import render; from lossproof.report.typeset import console_for\n"
        "f = Finding('LP204', 'n', Severity.ERROR, 'größe [red] 日本', Counterfactual('c', 1.0, 2.0), Fix('f'))\n"
        "render(Report('s', 'jax', '3', findings=(f,)), console_for())"
    )
    env = {**os.environ, "PYTHONIOENCODING": "cp1252", "COLUMNS": "300"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    shown = done.stdout.decode("cp1252")
    assert "Größe [red] ??" in shown
    assert "\x1b" not in shown


def test_colour_changes_no_character(sample):
    file = io.StringIO()
    render(sample[1], Console(file=file, width=80, force_terminal=True, color_system="truecolor", _environ={}))
    assert "\x1b[" in file.getvalue()
    assert ANSI.sub("", file.getvalue()) == rendered(sample[1], 80)


def test_no_color_keeps_no_colour(paired):
    file = io.StringIO()
    environ = {"NO_COLOR": "1", "TERM": "xterm-256color"}
    render(paired, Console(file=file, width=80, force_terminal=True, _environ=environ))
    codes = {code for match in ANSI.findall(file.getvalue()) for code in match[2:-1].split(";")}
    assert codes <= {"", "0", "1", "2"}, "only bold and dim remain"


def test_dumb_terminal_gets_no_escapes(paired):
    file = io.StringIO()
    render(paired, Console(file=file, width=80, force_terminal=True, _environ={"TERM": "dumb"}))
    assert file.getvalue() == rendered(paired, 80)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-16"])
def test_any_encoding_is_written(sample, encoding):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    render(sample[1], console_for(file))
    file.flush()
    shown = raw.getvalue().decode(encoding)
    assert shown.count("\n") == rendered(sample[1], 80).count("\n")
    if encoding.startswith("utf"):
        assert shown == rendered(sample[1], 80)
    if encoding == "cp1252" and sample[0] == "unicode":
        assert "größe * (??? - e?) + " in shown


HOSTILE = "[red]X[/] [/] [link=a]:smile: %0A::error::\x1b[31m\x9b\u202e\r\n\\[b]"


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("width", [30, 80, 200])
def test_hostile_text_is_shown_as_it_is(sample, poisoned, width, verbose):
    shown = rendered(poisoned(sample[1], HOSTILE), width, verbose=verbose)
    assert not set(shown) & set("\x1b\x9b\u202e\r")
    assert "[red]X[/]" in shown
    assert ":smile:" in shown
    if width == 200:
        assert "[red]X[/] [/] [link=a]:smile: %0A::error::\\x1b[31m\\x9b\\u202e\\x0d" in shown


def _finding(severity: Severity, code: str, **changes: object) -> Finding:
    finding = Finding(code, code.lower(), severity, f"title of {code}", Counterfactual("c", 1.0, 2.0), Fix("mend it"))
    return replace(finding, **changes)


def test_errors_come_before_warnings_before_notes_before_the_card(paired):
    findings = tuple(
        _finding(s, c) for s, c in [(Severity.NOTE, "LP9"), (Severity.WARNING, "LP8"), (Severity.ERROR, "LP7")]
    )
    shown = rendered(replace(paired, findings=findings))
    order = [shown.index(word) for word in ("LP7 lp7", "LP8 lp8", "LP9 lp9", "Objective ")]
    assert order == sorted(order)
    assert shown.rstrip().endswith("1 error, 1 warning, 1 note; 14 rules checked, 1 not applicable")


def test_notes_take_two_lines_unless_verbose(paired):
    note = _finding(Severity.NOTE, "LP9", where=Place("a.py", 3))
    report = replace(paired, findings=(note,), captures=(), checked=(), skipped={})
    assert rendered(report).split("\n")[:3] == ["LP9 lp9" + " " * 57 + "note, a.py:3".rjust(14), " Title of LP9.", ""]
    assert "mend it" not in rendered(report)
    assert "mend it" in rendered(report, verbose=True)


def test_evidence_patch_and_change_are_shown_when_verbose(paired):
    finding = replace(paired.findings[0], patch="--- a\n+++ b")
    report = replace(paired, findings=(finding,))
    quiet, loud = rendered(report), rendered(report, verbose=True)
    for text in ("result: [32, 32]", "+++ b", "y_true reshaped to (32, 1)", "LP701: one replica"):
        assert text in loud
        assert text not in quiet


def test_long_values_leave_the_columns_whole(paired):
    proof = Counterfactual("c", "ValueError: " + "word " * 30, 0.5, rows=(Row("again", None, 1.0, "as told"),))
    shown = rendered(replace(paired, findings=(_finding(Severity.ERROR, "LP1", counterfactual=proof),)))
    assert shown.count("word") == 30
    assert re.search(r"again\n +as written +-\n +changed +1\.0000?\n +as told\n", shown)


def test_a_long_remark_wraps_in_its_column(paired):
    proof = Counterfactual("c", 1.0, 2.0, rows=(Row("shuffled", 1.0, 1.0, "the pairing of rows is " + "never " * 9),))
    lines = rendered(replace(paired, findings=(_finding(Severity.ERROR, "LP1", counterfactual=proof),))).split("\n")
    at = next(k for k, line in enumerate(lines) if "the pairing" in line)
    assert lines[at + 1].index("never") == lines[at].index("the pairing")


def test_long_paths_are_never_broken(paired):
    path = "/home/" + "deep/" * 60 + "train.py"
    finding = replace(paired.findings[0], where=replace(paired.findings[0].where, file=path))
    assert f"{path}:12\n  in SquaredError.call\n" in rendered(replace(paired, findings=(finding,)))


def test_several_captures_say_which_call_a_finding_is_from(paired):
    two = replace(paired.captures[0], id=2, call="evaluate", where=Place("train.py", 99))
    report = replace(paired, captures=(*paired.captures, two), findings=(replace(paired.findings[0], capture=2),))
    assert "train.py:12 in SquaredError.call, during evaluate at train.py:99\n" in rendered(report)
    assert "during" not in rendered(paired)


def test_many_captures_are_shown_briefly(paired):
    cards = tuple(replace(paired.captures[0], id=k, where=Place("train.py", k)) for k in range(1, 31))
    shown = rendered(replace(paired, findings=(), captures=cards))
    assert shown.count("received") == 4
    assert "Further objectives" in shown
    assert "and 18 more" in shown
    assert rendered(replace(paired, findings=(), captures=cards), verbose=True).count("received") == 30


def test_an_explained_failure_has_no_traceback(sample):
    error = sample[1].script_error
    if error is None:
        return
    shown = rendered(sample[1])
    assert (error.traceback in shown) == (error.explained_by is None)
    assert (f"{error.explained_by} above explains it." in shown) == (error.explained_by is not None)


def test_no_snapshot_is_left_over(every_sample):
    assert {path.name for path in SNAPSHOTS.iterdir()} == {
        f"{n}-{width}.txt" for n in every_sample for width in (80, 200)
    }
