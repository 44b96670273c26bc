"""`lossproof trace SCRIPT`: the user's losses, expression by expression."""

from __future__ import annotations

import argparse
from pathlib import Path

from lossproof.commands.output import write_rendered, write_text
from lossproof.commands.script_line import split_script
from lossproof.commands.stdout import own_stdout

TRACED, MISUSED = 0, 2


def trace(arguments: list[str]) -> int:
    """Run the command; returns the exit status (0 something was traced, 2 nothing was, or the script failed).

    Raises:
        Misuse: The command line asks for what there is not.
    """
    from lossproof.tracing import trace_script

    options, command = split_script(_parser(), arguments)
    with own_stdout(options.format != "rich" and options.output is None) as stdout:
        report = trace_script(Path(command[0]), command[1:], full=options.full, gradients=options.gradients)
        if options.format == "json":
            write_text(report.to_json(), options, stdout)
        else:
            write_rendered(report.render, options)
    traced = any(capture.terms for capture in report.captures)
    return TRACED if traced and report.script_error is None else MISUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lossproof trace",
        usage="lossproof trace [options] SCRIPT [ARGS...]",
        description="Run SCRIPT (a .py file or a notebook) as Python would, and show the source of each loss that it trains "
        "with the shape, dtype and range of every expression on one batch.",
        epilog="Options of lossproof are taken wherever they stand; everything after `--` belongs to the script. "
        "Exit status: 0 a loss was traced, 2 misuse, nothing to trace, or a script that fails.",
        allow_abbrev=False,
    )
    parser.add_argument("--format", choices=("rich", "json"), default="rich", help="how to report (default: rich)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the trace to FILE")
    parser.add_argument("--gradients", action="store_true", help="also the gradient of the loss for each expression")
    parser.add_argument("--full", action="store_true", help="train on to the end instead of a few steps of each fit")
    return parser
