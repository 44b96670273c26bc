"""Which expressions of a source text report their values, and where they stand."""

from __future__ import annotations

import ast
import io
from dataclasses import dataclass
from typing import Any

from lossproof.capture.place import make_place
from lossproof.findings.finding import Place
from lossproof.lab.localize.events import Kind

Span = tuple[int, int, int, int]
"""First line and column, last line and the column after it: lines from 1, columns from 0 and in UTF-8 bytes."""


class Text:
    """A source text, addressed by spans."""

    def __init__(self, file: str, source: str) -> None:
        self._file = file
        self.lines = io.StringIO(source, newline=None).readlines()  # splits lines as `ast` does

    def place(self, span: Span, scope: str) -> Place:
        """The place of an expression inside the function `scope`."""
        return make_place(self._file, self.lines, span, scope=scope)


@dataclass(eq=False, slots=True)
class Site:
    """An expression that reports its value."""

    index: int
    """Among the sites of its text."""
    text: Text
    kind: Kind
    span: Span
    scope: str
    """The qualified name of the function that it stands in."""
    parts: tuple[Part, ...]
    """In the order of the source."""
    first: Site | None
    """For an expression that may leave some operands out, the operand that it always begins with."""
    awaited: bool = False
    """Whether another site has this one among its operands."""


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """An operand of a site: another site, or a constant with its value."""

    span: Span
    site: Site | None = None
    constant: Any = None


def span_of(node: ast.expr | ast.stmt) -> Span:
    """Where a node stands."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset
