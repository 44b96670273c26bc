"""What a comparison of two runs found, independent of how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossproof.report.shown import Shown

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Side:
    """One of the two trainings that are held against each other."""

    name: str
    backend: str
    keras: str
    where: str
    """Where it is called: `train.py:12`."""
    call: str
    model: str
    mode: str
    objective: str
    optimizer: str


@dataclass(frozen=True)
class Measured:
    """One measurement of both runs."""

    label: str
    a: str
    b: str


@dataclass(frozen=True)
class Divergence:
    """One thing in which the runs differ, in the order of cause and effect."""

    kind: str
    """`backend`, `mode`, `rng`, `initial weights`, `data order`, `batch`, `optimizer`, `loss value`, `gradient`; or, where no
    transplant is known, `model`, `predictions` or `step`."""
    stage: str
    """Where it shows first: `weights`, `batches`, `predictions`, `loss`, `gradient`, `step` (the first), `later`."""
    title: str
    rows: tuple[Measured, ...]
    size: float
    """By how much they differ there."""
    unit: str
    tolerance: float
    """What rounding explains there."""
    transplant: str | None
    """What run B was given of run A, None where there is nothing to give."""
    proven: bool
    """Whether the difference vanished with it."""
    after: str
    """What differs then."""
    remark: str = ""


@dataclass(frozen=True)
class Comparison(Shown):
    """The outcome of `lossproof compare`."""

    a: Side
    b: Side
    divergences: tuple[Divergence, ...]
    steps: int
    """How many steps of the trainings were held against each other."""
    trainings: int
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether the runs differ by no more than rounding."""
        return not self.divergences

    @property
    def first(self) -> Divergence | None:
        """The first divergence, None where there is none."""
        return self.divergences[0] if self.divergences else None

    def to_json(self) -> str:
        """The comparison in the versioned JSON of `lossproof compare --format json`."""
        from lossproof.report.comparison_json import to_json

        return to_json(self)

    def render(self, console: Console) -> None:
        """See `Shown.render`."""
        from lossproof.report.comparison import render

        render(self, console)
