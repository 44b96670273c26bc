"""The command line: `lossproof check SCRIPT`, `trace SCRIPT`, `compare A B`, `rules`, `explain CODE`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lossproof.commands.script_line import split_script
from lossproof.commands.stdout import own_stdout
from lossproof.pipeline import Misuse, check_script, selected
from lossproof.report.report import Report
from lossproof.report.typeset import console_for
from lossproof.rules.registry import rules

FORMATS = ("rich", "json", "sarif", "github", "html")
CLEAN, FOUND, MISUSED = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 clean, 1 findings, 2 misuse or an unexplained script error)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    try:
        if arguments[:1] and arguments[0] in OWN_LINE:
            return OWN_LINE[arguments[0]](arguments[1:])
        chosen = parser.parse_args(arguments)
        console = console_for()
        from lossproof.report.pages import render_rule, render_rules

        if chosen.command == "explain":
            [rule] = _one(chosen.code)
            render_rule(rule, console)
        else:
            render_rules(rules(), console)
        return CLEAN
    except Misuse as error:
        print(f"lossproof: {error}", file=sys.stderr)
        return MISUSED


def _one(code: str) -> list:  # type: ignore[type-arg]
    found = [rule for rule in rules() if code.upper() == rule.code or code.lower() == rule.name]
    return found or selected([code])[:1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lossproof", description="A debugger for the training objectives of Keras 3.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("check", help="run a script and check the objectives that it trains", add_help=False)
    commands.add_parser("trace", help="each expression of a script's losses, with its values", add_help=False)
    commands.add_parser("compare", help="why two runs differ, proven by transplant", add_help=False)
    explain = commands.add_parser("explain", help="what a rule means, with an example and its cure")
    explain.add_argument("code", metavar="CODE", help="a rule's code or name, such as LP101 or batch-broadcast")
    commands.add_parser("rules", help="list all rules")
    return parser


def _check_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lossproof check",
        usage="lossproof check [options] SCRIPT [ARGS...]",
        description="Run SCRIPT (a .py file or a notebook) as Python would, and check each objective that it trains.",
        epilog="Options of lossproof are taken wherever they stand; everything after `--` belongs to the script. "
        "Exit status: 0 no error or warning, 1 findings, 2 misuse or a script that fails for another reason.",
        allow_abbrev=False,
    )
    parser.add_argument("--format", choices=FORMATS, default="rich", help="how to report (default: rich)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the report to FILE")
    parser.add_argument("--select", default="", metavar="CODES", help="only these rules, such as LP101,LP2")
    parser.add_argument("--ignore", default="", metavar="CODES", help="all rules but these")
    parser.add_argument("--full", action="store_true", help="train on to the end instead of a few steps of each fit")
    parser.add_argument("--verbose", action="store_true", help="show notes and cards in full")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a rule that crashed")
    return parser


def _check(arguments: list[str]) -> int:
    options, command = split_script(_check_parser(), arguments)
    to_stdout = options.format != "rich" and options.output is None
    with own_stdout(to_stdout) as stdout:
        report = check_script(
            Path(command[0]),
            command[1:],
            full=options.full,
            select=_codes(options.select),
            ignore=_codes(options.ignore),
        )
        _write(report, options, stdout)
    if options.debug:
        for code, traceback in report.crashed.items():
            print(f"\n{code} crashed:\n{traceback}", file=sys.stderr)
    return status(report)


def _trace(arguments: list[str]) -> int:
    from lossproof.commands.trace import trace

    return trace(arguments)


def _compare(arguments: list[str]) -> int:
    from lossproof.commands.compare import run

    return run(arguments)


OWN_LINE: dict[str, Callable[[list[str]], int]] = {"check": _check, "trace": _trace, "compare": _compare}
"""The commands whose command line is partly a script's."""


def status(report: Report) -> int:
    """The exit status for a report."""
    if report.loud:
        return FOUND
    failed = report.script_error is not None and report.script_error.explained_by is None
    return MISUSED if failed or not report.captures else CLEAN


def _codes(text: str) -> list[str]:
    return [code.strip() for code in text.split(",") if code.strip()]


def _write(report: Report, options: argparse.Namespace, stdout: io.TextIOBase) -> None:
    if options.format == "rich":
        from lossproof.report.terminal import render

        if options.output is None:
            render(report, console_for(), verbose=options.verbose)
            return
        with options.output.open("w", encoding="utf-8") as file:
            render(report, console_for(file, width=100), verbose=options.verbose)
        return
    text = _machine(report, options.format)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")
    else:
        stdout.write(text + "\n")


def _machine(report: Report, form: str) -> str:
    if form == "json":
        from lossproof.report.json import to_json

        return to_json(report)
    if form == "sarif":
        from lossproof.report.sarif import to_sarif

        return to_sarif(report)
    if form == "html":
        from lossproof.report.html import to_html

        return to_html(report)
    from lossproof.report.github import to_github

    return to_github(report)
