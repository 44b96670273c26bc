"""What is kept of a run: one `Capture` for each call that trains or evaluates, and the history of each variable."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lossproof.capture.trainable import Flags, trainable_as
from lossproof.capture.values import Changes
from lossproof.findings.finding import Place

TRAINING = ("fit", "train_on_batch", "check")
"""The calls whose objective is minimised; `check` is `lossproof.check`, which stands for a `fit`."""


@dataclass(frozen=True)
class Compiled:
    """One `compile` of a model: its arguments as the user wrote them, and where."""

    serial: int
    arguments: dict[str, Any]
    where: Place | None


@dataclass
class Update:
    """A change of a variable's value: by the training of a model, or by an assignment in the user's code."""

    by: str
    """The call ("fit"), "apply" in a training loop of the user's own, or "assign"."""
    capture: int | None
    model: str | None
    where: Place | None
    count: int


@dataclass(frozen=True)
class Declared:
    """A variable that the user's code itself made, with `trainable=True` written out."""

    variable: weakref.ref[Any]
    start: np.ndarray
    where: Place | None


@dataclass(frozen=True)
class LostAssignment:
    """A value assigned to a variable of the model in the middle of an epoch, where JAX steps do not look."""

    variable: Any
    value: np.ndarray
    where: Place | None


@dataclass(frozen=True)
class Reassigned:
    """What the script made of an attribute of the model that says what `compile` was given."""

    name: str
    """`loss` or `loss_weights`."""
    compiled: Any
    """What was compiled, and is trained."""
    assigned: Any


@dataclass(frozen=True)
class Restarted:
    """A later call from the very weights of a capture, with the optimizer as the calls between have left it."""

    where: Place | None
    iterations: int
    optimizer_state: list[np.ndarray]


@dataclass(frozen=True)
class Retrained:
    """Weights whose `trainable` changed between `compile` and a training call; the `id`s of variables."""

    compiled: frozenset[int]
    """Those that were trainable when the model was compiled."""
    declared: frozenset[int]
    """Those that are trainable in the call."""
    moved: frozenset[int]
    """Those whose value the call changed."""
    taken: bool
    """Whether another model that holds such weights was compiled after this one, and before the call."""


@dataclass
class Capture:
    """One call that trains or evaluates a model, as it was caught.

    `data` holds the arguments `x`, `y`, `sample_weight`, `class_weight`, `batch_size`, `validation_data`, ... as the
    user passed them; arrays are the user's own objects, not copies. `batch` is a copy of a few rows of them, taken at
    the time of the call (None for data that come as an iterable: those are read again when the lab needs them).
    """

    id: int
    call: str
    """`fit`, `evaluate`, `train_on_batch`, `test_on_batch`, `check`, or for a loss alone `check_loss` or `Loss.__call__`."""
    where: Place | None
    model: Any
    """None for a loss alone."""
    compiled: Compiled | None
    data: dict[str, Any]
    batch: dict[str, Any] | None
    signature: tuple[Any, ...]
    weights: list[np.ndarray] | None = None
    """The values of `model.variables` when the call began; None while the model had none."""
    trainable: Flags = field(default_factory=list)
    """What `trainable` said of the model's layers and variables when the call began."""
    error: BaseException | None = None
    steps: int = 0
    epochs_asked: int | None = None
    shortened: str | None = None
    changes: Changes = field(default_factory=Changes)
    lost: list[LostAssignment] = field(default_factory=list)
    logs: list[dict[str, float]] = field(default_factory=list)
    """The logs of each epoch that ran, or of each batch for the calls on a batch."""
    reassigned: Reassigned | None = None
    """What the attributes of the model say at the last epoch that was seen, where they say another thing than `compile`."""
    optimizer_state: list[np.ndarray] | None = None
    """The variables of the optimizer when the call began, where it was built for other weights than the model's."""
    optimizer_config: dict[str, Any] | None = None
    restarted: Restarted | None = None
    """The first later call that began with the weights of this one, set back by the script, and a used optimizer."""
    """The settings of the optimizer, where it may refuse the weights: on JAX it has lost them after that."""
    retrained: Retrained | None = None
    """What `trainable` said at this call, where it said another thing when the model was compiled."""
    not_reset: set[int] | None = None
    """The ids of the metrics with a state when a further epoch began; None where no further epoch was seen."""
    again: bool = False
    """Whether the same model was trained before, by the same compiled step."""
    repeats: int = 0
    """How often the same objective was met again after this."""
    batch_sizes: set[int] = field(default_factory=set)
    """Sizes of the batches on which this objective was, or would be, evaluated."""
    forms: dict[tuple[Any, ...], int] = field(default_factory=dict)
    """How many steps the script asked for with batches of each form: the shapes of their arrays."""
    loss_call: LossCall | None = None
    """The loss and what it received, where there is no model."""

    @property
    def training(self) -> bool:
        return self.call in TRAINING

    @contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Inside, what the objective reads of Python, and what is trainable, is as the call found it."""
        with trainable_as(self.trainable), self.changes.undone():
            yield


@dataclass
class Training:
    """One training call of the run, kept for its history even where the capture itself is not kept."""

    capture: int
    call: str
    where: Place | None
    model_name: str
    model: weakref.ref[Any]
    variables: list[weakref.ref[Any]]
    """The trainable variables, in the model's order."""
    compiled: Compiled | None
    data: tuple[Any, ...]
    """A fingerprint of the data: equal for equal arrays."""
    settings: dict[str, Any]
    """Epochs, batch size and the optimizer's configuration."""
    began_trained_by: list[int]
    """The captures (ids) that had trained some of these variables before, through another model."""
    began_trained_before: list[int] = field(default_factory=list)
    """The captures (ids) that had trained some of these variables before, through whatever model."""
    rows: np.ndarray | None = None
    """Marks of the rows that it trains on, see `rows.marks_of`."""
    judged: list[np.ndarray] = field(default_factory=list)
    """Marks of the rows that the model is evaluated on, during the training or after it."""
    began_trainable: list[np.ndarray] | None = None
    """The values of `variables` when the call began."""
    steps: int = 0
    first_logs: dict[str, float] | None = None


@dataclass(frozen=True)
class LossCall:
    """A call of a `keras.losses.Loss` outside any fit that we watch: the first that had values, else the first."""

    loss: Any
    y_true: Any
    y_pred: Any
    sample_weight: Any
    where: Place | None
    concrete: bool = True
    """Whether the tensors have values; without them (in a traced function) they are not kept."""


@dataclass
class Loop:
    """A training loop of the user's own, as the optimizer sees it: it applies gradients outside any fit."""

    optimizer: Any
    where: Place | None
    iterations: int
    """The optimizer's counter when the loop began."""


@dataclass(frozen=True)
class Saved:
    """A whole model was written to a file, or should have been."""

    model: weakref.ref[Any]
    path: str
    where: Place | None
    error: Exception | None


@dataclass(frozen=True)
class Loaded:
    """A whole model was read from a file, or should have been."""

    path: str
    arguments: dict[str, Any]
    """`custom_objects`, `compile`, `safe_mode`."""
    where: Place | None
    error: Exception | None


@dataclass(frozen=True)
class Asked:
    """What the user asked for beyond the usual check, and what it takes to run the script again for it."""

    backends: tuple[str, ...] = ()
    """Backends with which the objective is compared."""
    replicas: int | None = None
    """How many replicas are simulated, whether the script distributes its training or not."""
    script: Path | None = None
    """None where there is none: a notebook, or a check from Python."""
    arguments: tuple[str, ...] = ()
    directory: str = "."
    full: bool = False


@dataclass
class Run:
    """Everything that was caught in one run of a script."""

    asked: Asked = field(default_factory=Asked)
    captures: list[Capture] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    updates: dict[int, list[Update]] = field(default_factory=lambda: defaultdict(list))
    """By `id` of the variable; `variables` keeps those ids meaningful."""
    variables: dict[int, weakref.ref[Any]] = field(default_factory=dict)
    declared: list[Declared] = field(default_factory=list)
    loose_losses: list[LossCall] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    loaded: list[Loaded] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def updates_of(self, variable: Any) -> list[Update]:
        """Who updated a variable, in order."""
        known = self.variables.get(id(variable))
        return self.updates[id(variable)] if known is not None and known() is variable else []

    def note_update(self, variable: Any, update: Update) -> None:
        """Add an update to a variable's history; one like the last adds to its count."""
        known = self.variables.get(id(variable))
        if known is None or known() is not variable:
            self.variables[id(variable)] = weakref.ref(variable)
            self.updates[id(variable)] = []
        updates = self.updates[id(variable)]
        last = updates[-1] if updates else None
        if last is not None and (last.by, last.capture, last.where) == (update.by, update.capture, update.where):
            last.count += update.count
        else:
            updates.append(update)
