"""The outcome of a check, independent of how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lossproof.findings.finding import Finding, Place, Severity
from lossproof.ledger.course import Course
from lossproof.report.shown import Shown

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class TensorCard:
    """What is worth saying of a tensor: its name, shape, dtype and range (of one batch)."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class TermCard:
    """One term of the objective: which loss, for which output, on what it was evaluated."""

    name: str
    output: str | None
    loss: str
    targets: tuple[TensorCard, ...]
    predictions: tuple[TensorCard, ...]
    weight: float | None = None
    """The entry of `loss_weights`, None where there is none."""
    sample_weight: TensorCard | None = None
    value: float | None = None
    """The reduced, unweighted value on the captured batch."""


@dataclass(frozen=True)
class CaptureCard:
    """The objective as one call trained or evaluated it."""

    id: int
    call: str
    """`fit`, `evaluate`, `train_on_batch`, `test_on_batch`, `Loss.__call__` or `optimizer.apply`."""
    where: Place | None
    model: str
    terms: tuple[TermCard, ...] = ()
    regularization: float | None = None
    """Sum of `model.losses` on the captured batch, None where there are none."""
    total: float | None = None
    weights_with_gradient: int | None = None
    weights_trainable: int | None = None
    weights_without_gradient: tuple[str, ...] = ()
    steps: int = 0
    """How many steps the call ran under our eyes."""
    shortened: str | None = None
    """How the call was cut short, e.g. "3 of 30 epochs, 2 steps each"; None where it was left alone."""
    unseen: tuple[str, ...] = ()
    """What could not be observed, said plainly."""
    course: Course | None = None
    """How it goes on, where that was asked for and it has several parts."""


@dataclass(frozen=True)
class ScriptError:
    """The exception that ended the script."""

    type: str
    message: str
    traceback: str
    """As Python shows it, without our frames."""
    where: Place | None = None
    explained_by: str | None = None
    """The code of the finding that explains it."""
    after_shortening: bool = False
    """Whether training had been cut short before, so that the error may be ours (try `--full`)."""


@dataclass(frozen=True)
class Report(Shown):
    """The outcome of a check."""

    text_width = 88

    script: str | None
    backend: str
    keras: str
    captures: tuple[CaptureCard, ...] = ()
    findings: tuple[Finding, ...] = ()
    checked: tuple[str, ...] = ()
    """Codes of the rules that ran to an answer."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Rules that had nothing to test here, with the reason."""
    crashed: Mapping[str, str] = field(default_factory=dict)
    """Rules that failed, with their traceback: a defect of lossproof, not of the script."""
    script_error: ScriptError | None = None
    allowed: tuple[Finding, ...] = ()
    """Findings that the user silenced by `# lossproof: allow`."""
    notices: tuple[str, ...] = ()
    """What the user should know of the check itself, e.g. that nothing was captured."""

    def to_json(self) -> str:
        """The report in the versioned JSON of `lossproof check --format json`."""
        from lossproof.report.json import to_json

        return to_json(self)

    def raise_for_findings(self) -> None:
        """Raise if there is an error or a warning, or if the objective cannot be evaluated at all.

        Raises:
            AssertionError: With the findings as the terminal shows them.
        """
        if self.loud or self.script_error is not None:
            raise AssertionError("\n" + str(self))

    def render(self, console: Console) -> None:
        """See `Shown.render`."""
        from lossproof.report.terminal import render

        render(self, console)

    @property
    def loud(self) -> tuple[Finding, ...]:
        """The findings that count: errors and warnings."""
        return tuple(f for f in self.findings if f.severity != Severity.NOTE)
