"""Looks on from inside a fit, by a callback."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from lossproof.capture.copies import copies
from lossproof.capture.objective import reassigned, roots
from lossproof.capture.record import Capture


class Observer(keras.callbacks.Callback):
    """Looks at the model and the Python values when training begins and at each epoch.

    Args:
        capture: What is observed.
        quietly: Runs an action of ours so that its failure never reaches the user.
    """

    async_safe = True

    def __init__(self, capture: Capture, quietly: Callable[[Callable[[], Any]], Any]) -> None:
        super().__init__()
        self._capture = capture
        self._quietly = quietly
        self._epochs = 0

    def on_train_begin(self, logs: Any = None) -> None:
        if self._capture.weights is None and self._capture.data and self.model.built:
            self._capture.weights = self._quietly(lambda: copies(self.model.variables))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._quietly(self._note_reassigned)
        if self._epochs or self._capture.again:  # before the first step nothing has been traced yet
            self._quietly(lambda: self._capture.changes.look(f"in epoch {epoch + 1}"))
            if self._epochs and type(self.model).train_step is not keras.Model.train_step:
                self._quietly(self._note_metrics)
        else:
            self._quietly(lambda: self._capture.changes.begin(roots(self.model, self._capture.compiled)))

    def _note_reassigned(self) -> None:
        self._capture.reassigned = reassigned(self.model)

    def _note_metrics(self) -> None:
        # Keras and the user's callbacks have reset by now what they reset; a metric of the step may hang anywhere.
        kind = keras.metrics.Metric
        with_state = {
            id(one)
            for one in gc.get_objects()
            if issubclass(type(one), kind) and "_variables" in vars(one) and any(map(np.any, copies(one.variables)))
        }
        before = self._capture.not_reset
        self._capture.not_reset = with_state if before is None else before & with_state

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._epochs += 1
        self._quietly(lambda: self._capture.logs.append(dict(logs or {})))


def own_callbacks(callbacks: Any) -> list[Any]:
    """The callbacks that the user passed, whatever they came in."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return keras.tree.flatten(callbacks) if callbacks else []


@contextmanager
def accompanied(callbacks: Any, ours: list[keras.callbacks.Callback], model: Any) -> Iterator[Any]:
    """What to pass as `callbacks=` so that ours run after the user's; a `CallbackList` is as before afterwards.

    Keras decides by the form of the argument whether callbacks run in another thread, so a list stays a list, and what
    was none does not become one.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        for one in ours:
            one.set_params(callbacks.params)
            one.set_model(model)
        callbacks.callbacks.extend(ours)
        try:
            yield callbacks
        finally:
            callbacks.callbacks[:] = [one for one in callbacks.callbacks if not any(one is own for own in ours)]
    elif not callbacks:
        yield ours
    elif isinstance(callbacks, (list, tuple)):
        yield [*callbacks, *ours]
    else:
        yield {"0": callbacks, "1": ours}  # Keras flattens it in the order of the keys
