"""Cut a training short, so that a long script is judged in seconds, without breaking the script that follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from lossproof.capture.batch import ROWS, count_batches, own_batch_size
from lossproof.capture.userfiles import is_user_function

EPOCHS_WITH_CALLBACKS = 3
"""The first, the second and the last: callbacks that move a value by the epoch are seen to move it."""
STEPS = 2
SLOW_SECONDS = 4.0
"""A step that takes longer than this ends the call after it."""
TELL_SECONDS = 1.0
"""How long a callback may take over the epochs that do not run."""


class Shortened:
    """A `fit` that runs a few steps, and afterwards looks as long as it was asked to be.

    It is asked for all of its epochs and stopped after the first ones, so that callbacks are told the true number. The
    callbacks see the first epochs and the last one under their own numbers. Those that the script defines itself are
    told of the epochs in between as well, because they may change a value at a certain one. `history` is filled up,
    because scripts index it.

    Args:
        arguments: Of the call, by name.
        callbacks: The user's.
    """

    def __init__(self, arguments: dict[str, Any], callbacks: list[Any]) -> None:
        self.first = int(arguments.get("initial_epoch") or 0)
        epochs = arguments.get("epochs")
        self.end = int(1 if epochs is None else epochs)
        self.asked = max(0, self.end - self.first)
        self.epochs = min(self.asked, EPOCHS_WITH_CALLBACKS if callbacks else 1)
        self.stopper = Stopper(self)
        self.validated_at = arguments.get("validation_freq", 1)
        self._numbers: dict[int, int] = {}
        held_out = arguments.get("validation_split") or 0.0
        batches = count_batches(arguments.get("x"), arguments.get("batch_size"), held_out)
        steps = few(arguments.get("steps_per_epoch") or batches)
        if batches is not None and batches % steps and self.epochs * steps > batches:
            steps = batches  # or Keras warns, in the middle of an epoch, that the data ran out
        self.steps = steps
        size = own_batch_size(
            arguments.get("x"), arguments.get("batch_size"), arguments.get("steps_per_epoch"), held_out
        )
        self.arguments = {**arguments, "steps_per_epoch": steps, "batch_size": size}
        if arguments.get("validation_data") is not None or held_out:
            self.arguments["validation_steps"] = 1
            if size and not arguments.get("batch_size") and not arguments.get("validation_batch_size"):
                self.arguments["validation_batch_size"] = ROWS
            if self._validations(range(self.first, self.end)):
                self.arguments["validation_freq"] = 1

    @property
    def said(self) -> str:
        """How the call was cut, for the report."""
        epochs = "1 epoch" if self.asked == 1 else f"{self.epochs} of {self.asked} epochs"
        return f"{epochs}, at most {max(STEPS, self.steps)} steps each"

    def shown_epoch(self, epoch: int) -> int:
        """The number under which callbacks see an epoch: the last one that runs is the last one asked for."""
        if epoch not in self._numbers:
            last = self.epochs > 1 and len(self._numbers) == self.epochs - 1
            self._numbers[epoch] = self.end - 1 if last else epoch
        return self._numbers[epoch]

    def fill(self, history: Any) -> None:
        """Give a `History` the length that it would have: the last epoch stays the last, the one before it is repeated.

        So the epoch whose value is the best has a number under which callbacks have seen it.
        """
        if not isinstance(history, keras.callbacks.History):
            return
        first = history.epoch[0] if history.epoch else self.first
        # A stop of the user's own, by a callback, would have come uncut as well.
        epochs = range(first, self.end) if self.stopper.stopped else range(first, first + len(history.epoch))
        for key, values in history.history.items():
            if values:
                values[:] = _stretched(values, self._validations(epochs) if key.startswith("val_") else len(epochs))
        history.epoch[:] = list(epochs)

    def _validations(self, epochs: range) -> int:
        """After how many of these epochs Keras would have validated."""
        every = self.validated_at
        if isinstance(every, int):
            return sum((epoch + 1) % every == 0 for epoch in epochs) if every else 0
        return sum(epoch + 1 in every for epoch in epochs) if isinstance(every, (list, tuple, set)) else 0


def few(batches: Any) -> int:
    """How many steps to run of so many; of an unknown number if None."""
    return STEPS if batches is None else min(int(batches), STEPS)


def _stretched(values: list[Any], length: int) -> list[Any]:
    if length <= len(values):
        return [*values[: max(length, 1) - 1], values[-1]]
    return [*values[:-1], *[values[-2:][0]] * (length - len(values)), values[-1]]


@contextmanager
def renumbered(callbacks: list[Any], shortened: Shortened) -> Iterator[None]:
    """Inside, the epoch hooks of the user's callbacks get the epoch numbers of the uncut training.

    Before the last epoch, hooks of the user's own making hear of those that were left out. A checkpoint that is saved
    every so many batches is saved in the batches that run.
    """
    patched: list[tuple[dict[str, Any], str, bool, Any]] = []

    def patch(callback: Any, name: str, value: Any) -> None:
        # On the instance, so that the class and what inherits from it are left alone.
        own = vars(callback)
        patched.append((own, name, name in own, own.get(name)))
        own[name] = value

    for callback in {id(one): one for one in callbacks}.values():
        if not isinstance(callback, keras.callbacks.Callback) or isinstance(callback, keras.callbacks.History):
            continue
        told = _Told(callback, shortened)
        patch(callback, "on_epoch_begin", told.begin)
        patch(callback, "on_epoch_end", told.end)
        if isinstance(callback, keras.callbacks.ModelCheckpoint) and isinstance(callback.save_freq, int):
            patch(callback, "save_freq", few(callback.save_freq))
    try:
        yield
    finally:
        for own, name, existed, value in reversed(patched):
            if existed:
                own[name] = value
            else:
                own.pop(name, None)


class _Told:
    """The epoch hooks of one callback, under the numbers of the uncut training."""

    def __init__(self, callback: Any, shortened: Shortened) -> None:
        self._callback, self._shortened = callback, shortened
        self._begin, self._end = callback.on_epoch_begin, callback.on_epoch_end
        self._last: int | None = None
        self._logs: Any = None

    def begin(self, epoch: int, *args: Any, **kwargs: Any) -> Any:
        shown = self._shortened.shown_epoch(epoch)
        if self._last is not None:  # a resumed training begins where it does
            self._tell_of(range(self._last + 1, shown))
        self._last = shown
        return self._begin(shown, *args, **kwargs)

    def end(self, epoch: int, logs: Any = None) -> Any:
        self._logs = logs
        return self._end(self._shortened.shown_epoch(epoch), logs)

    def _tell_of(self, epochs: range) -> None:
        hooks: list[tuple[Callable[..., Any], Any]] = [
            (one, logs) for one, logs in ((self._begin, {}), (self._end, self._logs)) if is_user_function(one)
        ]
        model: Any = getattr(self._callback, "model", None)
        stops = getattr(model, "stop_training", None)
        deadline = time.perf_counter() + TELL_SECONDS
        for epoch in epochs if hooks else ():
            if time.perf_counter() > deadline:
                break
            try:
                for hook, logs in hooks:
                    hook(epoch, dict(logs or {}))
            except Exception:  # it may miss what the steps of such an epoch would have left it
                break
        if stops is not None:
            model.stop_training = stops


class Stopper(keras.callbacks.Callback):
    """Ends a shortened training when its epochs have run, or as soon as nothing more is learned from slow steps."""

    async_safe = True

    def __init__(self, shortened: Shortened) -> None:
        super().__init__()
        self.stopped = False
        self._shortened = shortened
        self._began = 0.0
        self._epochs = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        seen = self._epochs >= 1 or self._shortened.epochs == 1
        if seen and time.perf_counter() - self._began > SLOW_SECONDS:
            self._stop()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._epochs += 1
        if self._epochs >= self._shortened.epochs and epoch + 1 < self._shortened.end:
            self._stop()

    def _stop(self) -> None:
        if not self.model.stop_training:
            self.stopped = self.model.stop_training = True

    def release(self, model: Any) -> None:
        """Leave the model as a training that was not stopped leaves it."""
        if self.stopped:
            model.stop_training = False
