"""What an evaluation of a loss, expression by expression, leaves behind: `Event`s in a `Trace`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lossproof.findings.finding import Place

Kind = Literal[
    "name",
    "attribute",
    "subscript",
    "binop",
    "unaryop",
    "boolop",
    "compare",
    "conditional",
    "call",
    "collection",
    "comprehension",
    "assign",
    "augassign",
    "other",
]
"""The syntax of an event.

`assign` is `(name := value)`; a plain assignment computes nothing and is no event. `other` occurs in `Trace.failed`
only: something that has no value of its own, such as `raise`.
"""


@dataclass(frozen=True, eq=False)
class Operand:
    """One operand of an expression, with the value that it had.

    `line` counts from 1, columns from 0 in characters. Of an operand that goes on below its first line, `end_column`
    is the end of that first line.
    """

    expression: str
    line: int
    column: int
    end_column: int
    value: Any = field(repr=False)


@dataclass(frozen=True, eq=False)
class Event:
    """One expression of the user's code was evaluated.

    `place.end_column` follows the rule of `Operand.end_column`; `place.expression` is the whole text. `operands` stand
    in the order of the source, those that were not evaluated (the rest of `a and b`) are left out. `depth` counts the
    user's functions on the stack, 0 in the traced one.
    """

    place: Place
    kind: Kind
    value: Any = field(repr=False)
    operands: tuple[Operand, ...]
    depth: int


@dataclass(frozen=True, eq=False)
class Trace:
    """One run of an instrumented function."""

    events: tuple[Event, ...]
    """In the order of evaluation, an expression after its operands."""
    result: Any = field(default=None, repr=False)
    error: Exception | None = None
    """What the function raised, None where it returned."""
    failed: Event | None = None
    """The user's expression that raised `error`, with its operands; its value is the exception."""
    blind: tuple[str, ...] = ()
    """Functions of the user that could not be looked into, each with the reason."""
    truncated: bool = False
    """Whether events were dropped because the recorder was full."""
