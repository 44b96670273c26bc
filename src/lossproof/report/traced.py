"""What a trace found, independent of how it is shown: each expression of a loss with the values that it had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossproof.findings.finding import Place
from lossproof.report.report import ScriptError, TensorCard
from lossproof.report.shown import Shown

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Gradient:
    """The derivative of the loss for each entry of one tensor; all numbers are finite or None."""

    norm: float | None
    """The Euclidean norm over the finite entries."""
    low: float | None
    high: float | None
    nonfinite: int = 0
    """How many entries are NaN or infinite."""


@dataclass(frozen=True)
class Values:
    """One tensor, or Python number, as it was when an expression was evaluated.

    `low`, `high` and `mean` are over its finite entries; of booleans, `mean` is the share that is true. They are None
    where it has no entries, or no values yet (a symbolic tensor of a traced graph).
    """

    part: str
    """Where it stands in a list, tuple or dict: `[0]`, `['mean']`; empty where the value is a tensor itself."""
    shape: tuple[int | None, ...] | None
    """None for a Python number."""
    dtype: str
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    nan: int = 0
    inf: int = 0
    symbolic: bool = False
    gradient: Gradient | None = None
    """None where none was asked for, or none can be had: integers, what autodiff does not connect to the weights and the loss."""
    cut: bool = False
    """Whether the gradient ends here: an operand of the expression has one, and this tensor has none."""


@dataclass(frozen=True)
class Expression:
    """One expression of the user's source, however often it was evaluated."""

    place: Place
    kind: str
    times: int
    first: tuple[Values, ...]
    last: tuple[Values, ...]
    """Of the last evaluation; equal to `first` where there was but one."""
    known: bool = False
    """Whether it only reads what an expression above it gave: a name, or a list of such."""


@dataclass(frozen=True)
class TracedFunction:
    """A function of the user's with its source and what its expressions gave, in the order of evaluation."""

    name: str
    where: Place
    lines: tuple[tuple[int, str], ...]
    """(number, text) of each source line, from its `def` on; those of a lambda are the lines it stands on."""
    expressions: tuple[Expression, ...]
    depth: int = 0
    """0 for the loss itself, 1 for what it calls, and so on."""


@dataclass(frozen=True)
class TracedTerm:
    """One loss, overridden `compute_loss` or `train_step`, evaluated on one batch."""

    kind: str
    """`loss`, `compute_loss`, `train_step`, or `add_loss` for the `call` of a layer that adds to the loss."""
    name: str
    output: str | None
    weight: float | None
    received: tuple[TensorCard, ...]
    value: float | None
    """Reduced, sample weights included, before `loss_weights`."""
    functions: tuple[TracedFunction, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be looked into, and why."""
    error: str | None = None
    """What the user's code raised."""


@dataclass(frozen=True)
class TracedCapture:
    """The objective of one call: its terms, in the order in which they are evaluated."""

    id: int
    call: str
    where: Place | None
    model: str
    terms: tuple[TracedTerm, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class TraceReport(Shown):
    """The outcome of `lossproof trace`."""

    script: str | None
    backend: str
    keras: str
    gradients: bool
    captures: tuple[TracedCapture, ...] = ()
    script_error: ScriptError | None = None
    notices: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The report in the versioned JSON of `lossproof trace --format json`."""
        from lossproof.report.trace_json import to_json

        return to_json(self)

    def render(self, console: Console) -> None:
        """See `Shown.render`."""
        from lossproof.report.trace import render

        render(self, console)
