"""Plain lines on a console of any width and encoding, with text that is never read as markup."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import IO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lossproof.report.wording import printable

Part = str | tuple[str, str]
"""A piece of a line: a string, or a string with its rich style."""

PIPED_WIDTH = 80
# Prose and tables stay readable on wide terminals; only source lines use the whole width.
_WIDEST = 100


def console_for(file: IO[str] | None = None, *, width: int | None = None) -> Console:
    """A console for reports on `file` (standard output by default): 80 columns wide where it is no terminal."""
    stream = sys.stdout if file is None else file
    if width is None and not stream.isatty():
        width = PIPED_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, force_jupyter=False)


class Typesetter:
    """Writes lines to `console`.

    `width` is that of the console; `measure` is the width of prose and tables, in cells.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.width = max(console.width, 20)
        self.measure = min(self.width, _WIDEST) - 2

    def clean(self, text: str) -> str:
        """`text` in characters that this console can show and that cannot steer it."""
        text = printable(text)
        if text.isascii():
            return text
        try:
            return text.encode(self.console.encoding, "replace").decode(self.console.encoding)
        except LookupError:
            return text.encode("ascii", "replace").decode("ascii")

    def one_line(self, text: str) -> str:
        """Clean `text` with its newlines and tabs spelled out."""
        return self.clean(text).replace("\n", "\\n").replace("\t", "\\t")

    def text(self, *parts: Part) -> Text:
        """One rich text of the cleaned parts."""
        text = Text()
        for part in parts:
            words, style = (part, "") if isinstance(part, str) else part
            text.append(self.clean(words).expandtabs(4), style or None)
        return text

    def print(self, *lines: Text) -> None:
        """Write the lines as they are: never wrapped, cropped or padded."""
        for line in lines:
            line.rstrip()
            self.console.print(line, soft_wrap=True)

    def blank(self, n: int = 1) -> None:
        for _ in range(n):
            self.console.print()

    def line(self, *parts: Part, indent: int = 0) -> None:
        """One line, unbroken however long it is (a path, a line of code)."""
        self.print(Text(" " * indent).append_text(self._unbroken(parts)))

    def _unbroken(self, parts: Iterable[Part]) -> Text:
        pairs = [(part, "") if isinstance(part, str) else part for part in parts]
        return self.text(*((self.one_line(words), style) for words, style in pairs))

    def wrap(self, text: Text, width: int, hang: int = 0) -> list[Text]:
        """`text` in lines of at most `width` cells, all but the first `hang` cells shorter.

        Words that are longer stay whole: paths can be copied.
        """
        lines: list[Text] = []
        for part in text.split("\n", allow_blank=True):
            start = 0
            breaks: list[int] = []
            for word in re.finditer(r"\S+", part.plain):
                room = max(width - hang, 10) if breaks or lines else width
                if start < word.start() and cell_len(part.plain[start : word.end()]) > room:
                    breaks.append(start := word.start())
            lines += part.divide(breaks)
        for line in lines:
            line.rstrip()
        return lines or [Text()]

    def paragraph(self, *parts: Part, indent: int = 0, hang: int = 0) -> None:
        """Prose, wrapped to the measure; lines after the first stand `hang` cells further to the right."""
        for k, line in enumerate(self.wrap(self.text(*parts), self.measure - indent, hang)):
            self.print(Text(" " * (indent + (hang if k else 0))).append_text(line))

    def sides(self, left: Iterable[Part], right: Iterable[Part]) -> None:
        """One line with text on both sides of the measure; two lines where it does not fit."""
        a, b = self._unbroken(left), self._unbroken(right)
        gap = self.measure - a.cell_len - b.cell_len
        if gap >= 2:
            self.print(a.append(" " * gap).append_text(b))
        else:
            self.print(a, Text("  ").append_text(b))
