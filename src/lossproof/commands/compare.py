"""`lossproof compare A.py B.py`: why do two runs differ?"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from lossproof import comparing
from lossproof.commands.output import write_rendered, write_text
from lossproof.commands.script_line import refuse_missing_folder
from lossproof.commands.stdout import own_stdout
from lossproof.pipeline import Misuse, refuse_missing

SAME, DIFFER = 0, 1


def compare(arguments: list[str]) -> int:
    """Run the command; returns the exit status (0 the same up to rounding, 1 they differ).

    Raises:
        Misuse: The command line asks for what there is not, or a script cannot be run.
    """
    options = _parser().parse_args(arguments)
    refuse_missing_folder(options)
    for script in (options.a, options.b):
        if script is not None:
            refuse_missing(script)
    with own_stdout(options.format != "rich" and options.output is None) as stdout:
        try:
            comparison = comparing.compare(
                [str(options.a), *options.args_a],
                None if options.b is None else [str(options.b), *options.args_b],
                backend_a=options.backend_a,
                backend_b=options.backend_b,
                fit_a=options.fit_a,
                fit_b=options.fit_b,
                steps=options.steps,
            )
        except ValueError as error:
            raise Misuse(str(error)) from None
        if options.format == "json":
            write_text(comparison.to_json(), options, stdout)
        else:
            write_rendered(comparison.render, options)
    return SAME if comparison.same else DIFFER


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} in {text!r}") from None


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lossproof compare",
        description="Run two scripts, each in a process of its own, and find the first thing in which their trainings "
        "differ: proven by giving the second script that one thing of the first. With one script, its first two trainings "
        "are compared.",
        epilog="Exit status: 0 the same up to rounding, 1 they differ, 2 misuse or a script that cannot be compared.",
        allow_abbrev=False,
    )
    backends = ("tensorflow", "jax", "torch")
    parser.add_argument("a", type=Path, metavar="A", help="a script or notebook")
    parser.add_argument("b", type=Path, metavar="B", nargs="?", help="the other one")
    parser.add_argument("--backend-a", choices=backends, help="the Keras backend for A (default: KERAS_BACKEND)")
    parser.add_argument("--backend-b", choices=backends, help="the Keras backend for B")
    parser.add_argument("--args-a", type=_words, default=[], metavar="ARGS", help="A's own arguments, in one string")
    parser.add_argument("--args-b", type=_words, default=[], metavar="ARGS", help="B's own arguments")
    parser.add_argument("--fit-a", type=_positive, metavar="N", help="which training of A is meant, from 1")
    parser.add_argument("--fit-b", type=_positive, metavar="N", help="which training of B is meant")
    parser.add_argument(
        "--steps",
        type=_positive,
        default=comparing.STEPS,
        metavar="N",
        help=f"steps to compare (default: {comparing.STEPS})",
    )
    parser.add_argument("--format", choices=("rich", "json"), default="rich", help="how to report (default: rich)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the report to FILE")
    return parser
