"""Which expressions of a source text report their values, and where they stand."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

from lossproof.findings.finding import Place
from lossproof.lab.localize.events import Kind

Position = tuple[int, int, int, int]
"""First line, last line, first column, end column: columns in bytes of UTF-8, as in `ast` and `co_positions`."""


@dataclass(eq=False, slots=True)
class Site:
    """An expression that reports its value."""

    index: int
    kind: Kind
    place: Place
    parts: tuple[Part, ...] = ()
    first: Site | None = None
    """The operand that every evaluation begins with, None where that is a constant."""
    awaited: bool = False
    """Whether another site has this one among its operands."""


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """An operand of a site: another site, or a constant with its value."""

    site: Site | None
    constant: Any
    expression: str
    line: int
    column: int
    end_column: int


class Text:
    """A source text, addressed by the positions of its syntax tree."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._lines = re.split("\r\n|\r|\n", text)

    def segment(self, at: Position) -> str:
        """The text between two positions."""
        first, last, column, end = at
        lines = [line.encode() for line in self._lines[first - 1 : last]]
        lines[-1] = lines[-1][:end]
        lines[0] = lines[0][column:]
        return b"\n".join(lines).decode()

    def columns(self, at: Position) -> tuple[int, int]:
        """First column and end column on the first line, in characters."""
        first, last, column, end = at
        line = self._lines[first - 1].encode()
        return len(line[:column].decode()), len((line[:end] if first == last else line).decode())

    def place(self, at: Position, scope: str | None) -> Place:
        """The place of an expression inside the function `scope`."""
        column, end = self.columns(at)
        return Place(self.file, at[0], column, end, self.segment(at), scope, source=self._lines[at[0] - 1])


def position(node: ast.expr | ast.stmt) -> Position:
    """Where a node stands."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset
