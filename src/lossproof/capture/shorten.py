"""Cut a training short, so that a long script is judged in seconds, without breaking the script that follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

EPOCHS_WITH_CALLBACKS = 3
"""The first, the second and the last: callbacks that move a value by the epoch are seen to move it."""
STEPS = 2
SLOW_SECONDS = 4.0
"""A step that takes longer than this ends the call after it."""


class Shortened:
    """A `fit` that runs a few steps, and afterwards looks as long as it was asked to be.

    The user's callbacks see the first epochs and the last one under their own numbers. `history` is filled up with the
    last values, because scripts index it.
    """

    def __init__(self, arguments: dict[str, Any], user_callbacks: bool) -> None:
        self.first = int(arguments.get("initial_epoch") or 0)
        self.asked = max(0, int(arguments.get("epochs") or 1) - self.first)
        self.epochs = min(self.asked, EPOCHS_WITH_CALLBACKS if user_callbacks else 1)
        steps = arguments.get("steps_per_epoch")
        self.arguments = {
            **arguments,
            "epochs": self.first + self.epochs,
            "steps_per_epoch": min(int(steps), STEPS) if steps else STEPS,
        }
        if arguments.get("validation_data") is not None or arguments.get("validation_split"):
            validation = arguments.get("validation_steps")
            self.arguments["validation_steps"] = min(int(validation), 1) if validation else 1

    @property
    def said(self) -> str:
        """How the call was cut, for the report."""
        epochs = "1 epoch" if self.asked == 1 else f"{self.epochs} of {self.asked} epochs"
        return f"{epochs}, at most {STEPS} steps each"

    def shown_epoch(self, epoch: int) -> int:
        """The number under which callbacks see an epoch: the last one that runs is the last one asked for."""
        last = self.first + self.epochs - 1
        return self.first + self.asked - 1 if epoch == last and self.epochs > 1 else epoch

    def fill(self, history: Any) -> None:
        """Lengthen a `History` to the epochs asked for, by its last values."""
        if not isinstance(history, keras.callbacks.History):
            return
        for values in history.history.values():
            if values:
                values.extend([values[-1]] * (self.asked - len(values)))
        history.epoch[:] = list(range(self.first, self.first + self.asked))


@contextmanager
def renumbered(callbacks: list[Any], shortened: Shortened) -> Iterator[None]:
    """Inside, the epoch hooks of the user's callbacks get the epoch numbers of the uncut training."""
    hooks = ("on_epoch_begin", "on_epoch_end")
    patched: list[tuple[Any, str]] = []

    def through(hook: Callable[..., Any]) -> Callable[..., Any]:
        return lambda epoch, *args, **kwargs: hook(shortened.shown_epoch(epoch), *args, **kwargs)

    for callback in callbacks:
        for name in hooks:
            # On the instance, so that the class and what inherits from it are left alone.
            if isinstance(callback, keras.callbacks.Callback) and name not in vars(callback):
                vars(callback)[name] = through(getattr(callback, name))
                patched.append((callback, name))
    try:
        yield
    finally:
        for callback, name in patched:
            vars(callback).pop(name, None)


class StopWhenSlow(keras.callbacks.Callback):
    """Ends a shortened training whose steps are slow as soon as nothing more is learned from it."""

    async_safe = True

    def __init__(self, user_callbacks: bool) -> None:
        super().__init__()
        self._patient = user_callbacks
        self._began = 0.0
        self._epochs = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if time.perf_counter() - self._began > SLOW_SECONDS and (not self._patient or self._epochs >= 1):
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._epochs += 1
