"""`lossproof check SCRIPT`: run a script and judge the objectives that it trains."""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lossproof.commands.output import write_rendered, write_text
from lossproof.commands.script_line import split_script
from lossproof.commands.stdout import own_stdout
from lossproof.pipeline import Misuse, check_script
from lossproof.report.report import Report

FORMATS = ("rich", "json", "sarif", "github", "html")
CLEAN, FOUND, MISUSED = 0, 1, 2


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


def check(arguments: list[str]) -> int:
    """Run `lossproof check`; returns the exit status."""
    options, command = split_script(_check_parser(), arguments)
    if options.format == "html":
        _require_html()
    to_stdout = options.format != "rich" and options.output is None
    with own_stdout(to_stdout) as stdout:
        report = check_script(
            Path(command[0]),
            command[1:],
            full=options.full,
            select=_codes(options.select),
            ignore=_codes(options.ignore),
            backends=_codes(options.backends),
            replicas=options.replicas,
            course=options.format == "html",
        )
        if _lost_the_gpu(report):
            return _again_on_cpu(arguments, stdout)
        _write(report, options, stdout)
    if options.debug:
        for code, traceback in report.crashed.items():
            print(f"\n{code} crashed:\n{traceback}", file=sys.stderr)
    return status(report)


def _require_html() -> None:
    """Say what HTML pages need before the script runs, not after."""
    from lossproof.report.html.extra import MissingExtra, require

    try:
        require()
    except MissingExtra as error:
        raise Misuse(str(error)) from None


def _lost_the_gpu(report: Report) -> bool:
    """Whether the script failed in a way after which its GPU answers nothing, so that nothing could be measured."""
    error = report.script_error
    return (
        error is not None
        and "CUDA error: device-side assert triggered" in error.message
        and os.environ.get("CUDA_VISIBLE_DEVICES") != ""
    )


def _again_on_cpu(arguments: Sequence[str], stdout: io.TextIOBase) -> int:
    """Check in a new process without a GPU: there the same call raises an exception that says what is wrong."""
    print("The GPU stopped with a device-side assert; checking again on the CPU.", file=sys.stderr, flush=True)
    stdout.flush()
    done = subprocess.run(
        [sys.executable, "-m", "lossproof", "check", *arguments],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        stdout=stdout.fileno(),
        check=False,
    )
    return int(done.returncode)


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

        write_rendered(partial(render, report, verbose=options.verbose), options)
    else:
        write_text(_machine(report, options.format), options, stdout)


def _machine(report: Report, form: str) -> str:
    if form == "json":
        from lossproof.report.json import to_json

        return to_json(report)
    if form == "sarif":
        from lossproof.report.sarif import to_sarif

        return to_sarif(report)
    if form == "html":
        from lossproof.report.html.check import to_html

        return to_html(report)
    from lossproof.report.github import to_github

    return to_github(report)
