"""`lossproof.Ledger`: a callback that keeps the account of a loss while `fit` runs.

How it gets at the batch. A callback does not see data, and asking for a second batch would shift the user's dataset and
its random numbers. Adding outputs to `train_step` would give the compiled step other instructions, and so other last
digits. So the one public place between the data and the step is used: `fit` calls `model.train_function` for every step,
an attribute that `make_train_function` sets. For the time of a `fit` the ledger stands before it. Every `every`-th call it
takes the batch from the iterator, computes the account beside the step, from the same weights, batch and random
numbers, and hands the step an iterator that begins with that very batch. All other calls go straight through, and no
hook at the end of a batch is used, since that would make Keras fetch its logs at every step.
"""

from __future__ import annotations

import time
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from lossproof import keras_private
from lossproof.ledger.entry import Entry
from lossproof.ledger.pace import Pace
from lossproof.ledger.probe import Probe, Unmeasurable
from lossproof.ledger.runfile import RunWriter, entry_line, file_of, steps_before
from lossproof.ledger.tensorboard import ScalarWriter, installed

EVERY = 100
GRADIENTS_EVERY = 200
SHARE = 0.01
"""Of the time of the steps, which accounts take by default. It is half of the 2 % that are aimed at, since an account also
slows down the steps around it (benchmarks/README.md)."""
GRADIENTS_SHARE = 0.05
"""The same for those with gradients, for 10 %."""


class Ledger(keras.callbacks.Callback):
    """Keeps the account of the loss during a plain `fit`: terms, weights, penalties, learning rate, gradients.

        model.fit(x, y, callbacks=[lossproof.Ledger("runs/a", gradients=True)])

    Each account is of one step: the loss that its update follows, to the digit, with the dropout it met. The training
    itself is bit for bit what it would be without. Accounts are written to `<path>/ledger.jsonl` (see
    `lossproof.ledger.runfile` for the format, `read_run` to read it) and to TensorBoard, and kept in `entries`.

    A `fit` that goes on (its optimizer has made updates, or `initial_epoch` says so) goes on in the same file: what a
    killed run wrote after the point from which it is resumed does not count any more. A `fit` from the very beginning
    starts a new file; an older one is kept as `ledger.1.jsonl`, ...

    TensorFlow builds a model in its first step: there the accounts begin with the second. What cannot be measured (a
    `train_step` of the user's, `tf.distribute`) is said in a note; the numbers that Keras reports are kept all the same.

    By default accounts are kept every 100 steps, or every 200, 400, ..., such that by their own measure they take 1 % of the
    time of the steps, and those with gradients 5 %; see `lossproof.ledger.pace`. A number of steps is kept to whatever it
    takes.

    Args:
        path: The folder of the run.
        every: Steps between two accounts, at least 1. By default at least 100.
        gradients: Whether the gradient of each term is measured too, by default every 200 steps or more; a number for other
            intervals. It takes a backward pass for each term, and memory for as many gradients.
        tensorboard: Whether scalars are written for TensorBoard, into `path`; by default where tensorboardX is installed.

    Attributes:
        entries: The accounts of this process, as a tuple of `Entry`.
        undriven: Paths of the trainable weights on which no part of the loss had a gradient, whenever it was measured.

    Raises:
        TypeError, ValueError: An argument is none of these.
        ImportError: `tensorboard=True` without tensorboardX.
    """

    def __init__(
        self,
        path: str | Path = "ledger",
        *,
        every: int | None = None,
        gradients: bool | int = False,
        tensorboard: bool | None = None,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self._plain = Pace(EVERY, SHARE) if every is None else Pace(_interval("every", every))
        self._deep: Pace | None = None
        if gradients is not False and gradients is not None:
            adaptive = gradients is True
            self._deep = Pace(GRADIENTS_EVERY, GRADIENTS_SHARE) if adaptive else Pace(_interval("gradients", gradients))
        if tensorboard and not installed():
            raise ImportError(
                "Ledger(tensorboard=True) needs tensorboardX, which is not installed: "
                "`pip install 'lossproof[tensorboard]'`, or leave tensorboard out"
            )
        self._with_scalars = installed() if tensorboard is None else bool(tensorboard)
        self._entries: list[Entry] = []
        self._driven: set[str] = set()
        self._seen: list[str] = []
        self._writer = RunWriter(self.path)
        self._scalars: ScalarWriter | None = None
        self._probe: Probe | None = None
        self._trained: Any = None
        self._step = 0
        self._before = 0
        self._many = 1
        self._epoch = 0
        self._begun = False

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The accounts so far."""
        return tuple(self._entries)

    @property
    def _paces(self) -> list[Pace]:
        return [self._plain] if self._deep is None else [self._plain, self._deep]

    @property
    def undriven(self) -> tuple[str, ...]:
        """Paths of the trainable weights without a gradient at every measurement; empty before the first."""
        return tuple(path for path in self._seen if path not in self._driven)

    # What fit calls -----------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        """Stand before the train function."""
        self._begun = False
        self._probe = None
        # `Callback.model` makes JAX put its state back into the variables each time that it is read, which must not be
        # done from within a step: the trained model is kept here.
        self._trained = self.model
        self._many = max(int(getattr(self._trained, "steps_per_execution", 1) or 1), 1)
        inner = getattr(self._trained, "train_function", None)
        while isinstance(inner, _Watched) and inner.ledger is self:  # of a fit that was interrupted
            inner = inner.inner
        if inner is not None:
            self._trained.train_function = _Watched(self, inner)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Learn where the training stands; on JAX the variables have values now."""
        self._epoch = epoch
        if not self._begun:
            self._begun = True
            self._quietly(self._begin, epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep what Keras reports."""
        if self._many > 1 and self._begun:  # the last execution of an epoch may have had fewer steps than the others
            made = self._updates_made()
            self._step = self._step if made is None else self._before + made
        numbers = {key: float(value) for key, value in (logs or {}).items() if isinstance(value, (int, float))}
        line = {"kind": "epoch", "epoch": epoch, "step": self._step, "logs": numbers}
        self._quietly(self._writer.write, line)

    def on_train_end(self, logs: Any = None) -> None:
        """Step aside and close the file."""
        function = getattr(self._trained, "train_function", None)
        if isinstance(function, _Watched) and function.ledger is self:
            self._trained.train_function = function.inner
        line = {"kind": "end", "step": self._step, "time": time.time(), "undriven": list(self.undriven)}
        self._quietly(self._writer.write, line)
        self._quietly(self._writer.close)
        if self._scalars is not None:
            self._quietly(self._scalars.close)
            self._scalars = None
        self._probe = self._trained = None

    # Around the step -------------------------------------------------------------------------------------------------

    def _begin(self, epoch: int) -> None:
        made = self._updates_made()
        self._step = max(made or 0, steps_before(file_of(self.path), epoch)) if epoch else made or 0
        self._before = self._step - (made or 0)
        head = {
            "lossproof": _version(),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "model": self._trained.name,
            "every": self._plain.base,
            "gradients": None if self._deep is None else self._deep.base,
        }
        self._writer.begin(head, self._step, epoch, time.time())
        if self._step == 0 and epoch == 0:
            self._entries.clear()
        else:
            self._entries = [one for one in self._entries if one.step is not None and one.step < self._step]
        if self._with_scalars and self._scalars is None:
            self._scalars = ScalarWriter(self.path, self._step)
        try:
            self._probe = Probe(self._trained)
        except Unmeasurable as reason:
            self._writer.write({"kind": "note", "step": self._step, "text": str(reason)})
            text = f"no accounts are kept: {reason}. What Keras reports is kept all the same"
            _say(text)
            return
        for pace in self._paces:
            pace.start(self._step)

    def _updates_made(self) -> int | None:
        made = keras_private.steps_applied(self._trained.optimizer)
        return None if made is None else int(keras.ops.convert_to_numpy(made))

    def around(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Called before every step with the arguments of the train function; returns those for the step."""
        step, many = self._step, self._many
        self._step = step + many
        last = step + many - 1
        if self._probe is None or not any(pace.reached(last) for pace in self._paces):
            return arguments
        try:
            if not self._probe.ready:
                return arguments
            state = arguments[0] if self._probe.backend.name == "jax" else None
            self._probe.settle(state)
            began = time.perf_counter()
            due = [pace for pace in self._paces if pace.reached(last) and pace.due(step, last, began)]
            if not due:
                return arguments
            data, arguments = self._probe.backend.taken(arguments, many)
            if data is None:
                return arguments
            measured = self._probe.measure(data, state, with_gradients=self._deep in due)
            if measured is not None:
                self._keep(measured.entry, step)
            now = time.perf_counter()
            if measured is not None:
                due[-1].took(measured.seconds if measured.first else now - began)
            for pace in self._paces:
                pace.done(step, last, now, now - began)
        except Exception as error:  # the user's training goes on whatever happens here
            self._give_up(error)
        return arguments

    def _keep(self, entry: Entry, step: int) -> None:
        entry = replace(entry, step=step, epoch=self._epoch)
        self._entries.append(entry)
        if entry.gradients is not None:
            if not self._seen:
                self._seen = [str(variable.path) for variable in self._trained.trainable_variables]
            without = set(entry.gradients.undriven)
            self._driven |= {path for path in self._seen if path not in without}
        self._writer.write(entry_line(entry))
        if self._scalars is not None:
            self._scalars.write(entry)

    def _give_up(self, error: Exception) -> None:
        self._probe = None
        lines = str(error).strip().splitlines()
        text = f"accounts end here: {type(error).__name__}: {lines[0] if lines else ''}"
        self._quietly(self._writer.write, {"kind": "note", "step": self._step, "text": text})
        _say(f"{text}. The training goes on without them")

    def _quietly(self, action: Any, *arguments: Any) -> None:
        """A full disk or a folder that cannot be written ends the ledger, not the training."""
        try:
            action(*arguments)
        except Exception as error:
            self._probe = None
            _say(f"it stopped writing to {self.path}: {type(error).__name__}: {error}")


class _Watched:
    """A train function with a ledger before it."""

    def __init__(self, ledger: Ledger, inner: Any) -> None:
        self.ledger = ledger
        self.inner = inner

    def __call__(self, *arguments: Any) -> Any:
        return self.inner(*self.ledger.around(arguments))


def _say(text: str) -> None:
    with suppress(Warning):  # where warnings are errors, the training goes on all the same
        warnings.warn(f"lossproof.Ledger: {text}.", stacklevel=3)


def _interval(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number of steps, found {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1 step, found {value}")
    return value


def _version() -> str:
    import lossproof

    return lossproof.__version__
