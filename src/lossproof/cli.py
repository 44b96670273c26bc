"""The command line: `lossproof check SCRIPT`, `trace SCRIPT`, `compare A B`, `ledger view RUN`, `rules`, `explain CODE`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from lossproof.commands.check import CLEAN, MISUSED
from lossproof.pipeline import Misuse, selected
from lossproof.report.typeset import console_for
from lossproof.rules.registry import rules

OWN_LINE = ("check", "trace", "compare", "ledger")
"""The commands that read their own command line: each a module of `commands`, with a function of its name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 clean, 1 findings, 2 misuse or an unexplained script error)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    try:
        if arguments[:1] and arguments[0] in OWN_LINE:
            if sys.platform == "darwin":  # Apple's GPU has no float64, in which gradients are measured
                os.environ.setdefault("KERAS_TORCH_DEVICE", "cpu")
            command: Callable[[list[str]], int] = getattr(
                importlib.import_module(f"lossproof.commands.{arguments[0]}"), arguments[0]
            )
            return command(arguments[1:])
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
    commands.add_parser("ledger", help="the page of a run that a Ledger kept", add_help=False)
    explain = commands.add_parser("explain", help="what a rule means, with an example and its cure")
    explain.add_argument("code", metavar="CODE", help="a rule's code or name, such as LP101 or batch-broadcast")
    commands.add_parser("rules", help="list all rules")
    return parser
