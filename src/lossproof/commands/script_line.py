"""Command lines of the form `lossproof COMMAND [options] SCRIPT [ARGS...]`."""

from __future__ import annotations

import argparse

from lossproof.pipeline import Misuse


def split_script(parser: argparse.ArgumentParser, arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options of lossproof, wherever they stand before a `--`, and what is left: the script and its arguments.

    Args:
        parser: Knows the options, `--output` among them; its `prog` is the command.
        arguments: The command line after the command's name.

    Raises:
        Misuse: There is no script, an unknown option stands before it, or the output's folder does not exist.
    """
    own, rest = arguments, []
    if "--" in arguments:
        cut = arguments.index("--")
        own, rest = arguments[:cut], arguments[cut + 1 :]
    options, found = parser.parse_known_args(own)
    command = [*found, *rest]
    if not command or command[0].startswith("-"):
        wrong = f"unknown option {command[0]}" if command else "no script given"
        raise Misuse(f"{wrong}: expected `{parser.prog} [options] SCRIPT [ARGS...]`, see `{parser.prog} --help`")
    refuse_missing_folder(options)
    return options, command


def refuse_missing_folder(options: argparse.Namespace) -> None:
    """Refuse an `--output` in a folder that does not exist, or that is one.

    Raises:
        Misuse: There is no such folder, or a folder where the file is to be.
    """
    if options.output is not None and options.output.is_dir():
        raise Misuse(f"cannot write {options.output}: it is a folder, expected the name of a file")
    if options.output is not None and not options.output.parent.is_dir():
        raise Misuse(f"cannot write {options.output}: the folder {options.output.parent} does not exist")
