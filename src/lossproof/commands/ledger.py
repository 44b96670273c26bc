"""`lossproof ledger view RUN -o run.html`: the run that a Ledger kept, as a page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lossproof.commands.script_line import refuse_missing_folder
from lossproof.pipeline import Misuse


def ledger(arguments: list[str]) -> int:
    """Run the command; returns the exit status, 0.

    Raises:
        Misuse: There is no such run, it cannot be read, or a package that pages need is missing.
    """
    from lossproof.ledger.runfile import read_run
    from lossproof.report.html.extra import MissingExtra
    from lossproof.report.html.run import run_to_html

    options = _parser().parse_args(arguments)
    refuse_missing_folder(options)
    try:
        page = run_to_html(read_run(options.run))
    except (FileNotFoundError, ValueError, MissingExtra) as error:
        raise Misuse(str(error)) from None
    if options.output is None:
        sys.stdout.write(page)
    else:
        options.output.write_text(page, encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lossproof ledger", description="Look at what a lossproof.Ledger wrote.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    view = commands.add_parser("view", help="one HTML page of a run", allow_abbrev=False)
    view.add_argument("run", metavar="RUN", help="the folder given to lossproof.Ledger, or the .jsonl file in it")
    view.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the page to FILE, not to stdout")
    return parser
