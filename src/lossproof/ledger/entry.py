"""The account of a loss on one batch: its terms, its penalties, their sum, and what is left over.

All numbers are plain Python numbers. A loss has no unit of its own; a contribution has that of the total.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TOLERANCE = 1e-6
"""An account closes if what is left over is no more than this, relative to the largest amount that went into it."""

PenaltyKind = Literal["regularizer", "activity", "add_loss", "weighting"]
"""`weighting` is what a strategy of `lossproof.Trainer` adds beside the terms (the log-variances of `Uncertainty`)."""


@dataclass(frozen=True)
class TermEntry:
    """One loss, with what became of it on the way into the total."""

    name: str
    """Unique within an account: the output's name where there are several outputs, else the loss's."""
    loss: str
    """The loss in the user's words: a function's name or a class."""
    output: str | None
    value: float
    """Reduced, with mask and sample weights: what Keras shows for an output."""
    weight: float
    """The factor with which `value` enters the total: `loss_weights`, or as measured in a `compute_loss` of the user's."""
    contribution: float
    """`value * weight`."""
    raw: float | None = None
    """The mean of what the loss returns for each sample (or finer), without mask and weights."""
    masked: float | None = None
    """The mean over the places that the mask shows; None without a mask."""
    weighted: float | None = None
    """With the sample weights as well: the sum of values times weights over the number of (shown) values."""
    count: int | None = None
    """How many values the loss returned."""
    shown: int | None = None
    """How many of them the mask shows; None without a mask."""
    reduction: str | None = None
    """`sum_over_batch_size`, `sum`, ... as the loss object says."""
    weights: Literal["sample_weight", "class_weight"] | None = None
    """Where the weights of the samples come from; None without."""
    mean_weight: float | None = None


@dataclass(frozen=True)
class PenaltyEntry:
    """What is put on top of the losses: an entry of `model.losses` (a regularizer, an `add_loss`), a strategy's rest."""

    name: str
    """Unique within an account."""
    kind: PenaltyKind
    layer: str
    what: str
    """Such as `L2(l2=0.01) of kernel`."""
    value: float
    weight: float
    """How often the total counts it: 1 under Keras's own `compute_loss`; 0 where the user's forgets it."""
    contribution: float


@dataclass(frozen=True)
class GradientEntry:
    """The gradient of each part of a loss with respect to the trainable weights.

    A group is a layer of the model; `parts` are the names of terms and penalties (regularizers together as
    `regularization`), in the order of every table here.
    """

    parts: tuple[str, ...]
    groups: tuple[str, ...]
    norms: tuple[tuple[float, ...], ...]
    """For each group, the Euclidean norm of the gradient of each part's contribution."""
    norm: tuple[float, ...]
    """The same over all weights."""
    cosines: tuple[tuple[float | None, ...], ...]
    """Between the gradients of two contributions, over all weights; None where one is zero."""
    shares: tuple[tuple[float | None, ...], ...]
    """For each group, which share of the whole gradient g each part drives: <g_k, g> / <g, g>. They sum to 1; a
    negative one works against the rest. Under plain SGD it is the share of the update itself; other optimizers make
    their update of the same gradient. None where the group has no gradient."""
    share: tuple[float | None, ...]
    """The same over all weights."""
    undriven: tuple[str, ...]
    """Paths of the trainable weights on which the gradient of every part is exactly zero (or None)."""


@dataclass(frozen=True)
class Entry:
    """The account of one batch."""

    terms: tuple[TermEntry, ...]
    penalties: tuple[PenaltyEntry, ...]
    total: float
    """What training minimises, as Keras (or the user's code) computes it."""
    residual: float
    """`total` minus all contributions."""
    cause: str | None = None
    """Where the residual comes from, if it is more than rounding."""
    training: bool = True
    """Whether the model ran in training mode."""
    rows: int | None = None
    step: int | None = None
    """How many updates had been made before this batch."""
    epoch: int | None = None
    learning_rate: float | None = None
    gradients: GradientEntry | None = None

    @property
    def parts(self) -> tuple[TermEntry | PenaltyEntry, ...]:
        """Everything that contributes."""
        return self.terms + self.penalties

    @property
    def explained(self) -> float:
        """The sum of all contributions."""
        return self.total - self.residual

    @property
    def magnitude(self) -> float:
        """The largest amount that went into the account, to which the residual is compared."""
        return max([abs(self.total), *(abs(one.contribution) for one in self.parts)])

    @property
    def closes(self) -> bool:
        """Whether the contributions add up to the total, to rounding."""
        return abs(self.residual) <= TOLERANCE * self.magnitude


def unique(names: list[str]) -> list[str]:
    """The names with a number added where one comes again: `mse`, `mse_1`."""
    seen: set[str] = set()
    result = []
    for name in names:
        candidate, n = name, 0
        while candidate in seen:
            n += 1
            candidate = f"{name}_{n}"
        seen.add(candidate)
        result.append(candidate)
    return result
