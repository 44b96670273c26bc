"""The command line: `lossproof check SCRIPT`, `lossproof rules`, `lossproof explain CODE`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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
        if arguments[:1] == ["check"]:
            return _check(arguments[1:])
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
    parser.add_argument(
        "--backends", default="", metavar="NAMES", help="compare with these backends as well, such as jax,torch (LP305)"
    )
    parser.add_argument(
        "--replicas", type=int, metavar="N", help="simulate N replicas, even where the script uses one (LP701)"
    )
    parser.add_argument("--verbose", action="store_true", help="show notes and cards in full")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a rule that crashed")
    return parser


def _check(arguments: list[str]) -> int:
    own, rest = arguments, []
    if "--" in arguments:
        cut = arguments.index("--")
        own, rest = arguments[:cut], arguments[cut + 1 :]
    options, found = _check_parser().parse_known_args(own)
    command = [*found, *rest]
    if not command or command[0].startswith("-"):
        wrong = f"unknown option {command[0]}" if command else "no script given"
        raise Misuse(f"{wrong}: expected `lossproof check [options] SCRIPT [ARGS...]`, see `lossproof check --help`")
    if options.output is not None and not options.output.parent.is_dir():
        raise Misuse(f"cannot write {options.output}: the folder {options.output.parent} does not exist")
    to_stdout = options.format != "rich" and options.output is None
    with _own_stdout(to_stdout) as stdout:
        report = check_script(
            Path(command[0]),
            command[1:],
            full=options.full,
            select=_codes(options.select),
            ignore=_codes(options.ignore),
            backends=_codes(options.backends),
            replicas=options.replicas,
        )
        _write(report, options, stdout)
    if options.debug:
        for code, traceback in report.crashed.items():
            print(f"\n{code} crashed:\n{traceback}", file=sys.stderr)
    return status(report)


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


@contextmanager
def _own_stdout(alone: bool) -> Iterator[io.TextIOBase]:
    """The stream for the report. `alone`: everything else that is written to stdout meanwhile goes to stderr.

    The file descriptor is diverted, not `sys.stdout`, because backends print from C++.
    """
    if not alone:
        yield sys.stdout  # type: ignore[misc]
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w", encoding=sys.stdout.encoding or "utf-8", errors="backslashreplace") as stream:
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
