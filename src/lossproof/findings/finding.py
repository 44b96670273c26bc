"""What a rule proves: a `Finding`, with its place, evidence and counterfactual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """The objective trained here is not the one that was written or meant."""
    WARNING = "warning"
    """It goes wrong in a situation that this script will reach."""
    NOTE = "note"
    """A fact worth knowing; nothing is wrong."""


@dataclass(frozen=True)
class Label:
    """A remark under a part of a source line, such as the shape of an operand.

    Columns count characters from 0, `end_column` is exclusive, as in `ast`.
    """

    column: int
    end_column: int
    text: str


@dataclass(frozen=True)
class Place:
    """Where something stands in the user's files.

    `line` counts from 1, columns from 0 (`end_column` exclusive). `scope` is the qualified name of the function.
    `cell` is the number of the notebook cell (from 1), and `line` then counts within it. `remark` says why the place
    is less exact than usual ("the source of this lambda could not be read").
    """

    file: str
    line: int
    column: int | None = None
    end_column: int | None = None
    expression: str | None = None
    scope: str | None = None
    cell: int | None = None
    source: str | None = None
    """The text of the line, as it was when the script ran."""
    labels: tuple[Label, ...] = ()
    remark: str | None = None


@dataclass(frozen=True)
class Row:
    """One line of a counterfactual's table: the same measurement in both columns."""

    label: str
    before: float | str | None
    after: float | str | None
    remark: str = ""


@dataclass(frozen=True)
class Counterfactual:
    """The same computation with one thing changed.

    `change` says what was changed; `before` and `after` are the measurement that the change moves. `columns` head the
    two columns of `rows`, which hold further measurements.
    """

    change: str
    before: float | str | None
    after: float | str | None
    label: str = "loss on this batch"
    columns: tuple[str, str] = ("as written", "changed")
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Fix:
    """What to do: a sentence, where, and, if it can be given, the line of code to write there."""

    text: str
    where: Place | None = None
    code: str | None = None


@dataclass(frozen=True)
class Finding:
    """A measured violation with its proof."""

    code: str
    name: str
    severity: Severity
    title: str
    counterfactual: Counterfactual
    fix: Fix
    explanation: str = ""
    """One short paragraph: what happens and what follows from it."""
    where: Place | None = None
    capture: int = 0
    measured: str = "1 batch"
    evidence: Mapping[str, object] = field(default_factory=dict)
    """JSON-ready numbers and names behind the finding."""
    patch: str | None = None
