"""Where a command's report goes: the terminal, stdout alone, or a file."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from typing import Any

from rich.console import Console

from lossproof.report.typeset import console_for

FILE_WIDTH = 100


def write_rendered(render: Callable[[Console], Any], options: argparse.Namespace) -> None:
    """Write what a person reads to the terminal, or to `options.output`."""
    if options.output is None:
        render(console_for())
        return
    with options.output.open("w", encoding="utf-8") as file:
        render(console_for(file, width=FILE_WIDTH))


def write_text(text: str, options: argparse.Namespace, stdout: io.TextIOBase) -> None:
    """Write what a machine reads to the given stdout, or to `options.output`; a line end follows it."""
    if options.output is None:
        stdout.write(text + "\n")
    else:
        options.output.write_text(text + "\n", encoding="utf-8")
