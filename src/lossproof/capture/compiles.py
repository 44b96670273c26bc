"""Which `compile` is in force for a model, and which weights it meant to train."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from lossproof.capture.copies import copy_of
from lossproof.capture.place import user_place
from lossproof.capture.record import Capture, Compiled, Retrained


class Compiles:
    """The last `compile` of each model."""

    def __init__(self) -> None:
        self._compiled: weakref.WeakKeyDictionary[Any, Compiled] = weakref.WeakKeyDictionary()
        self._trainable: weakref.WeakKeyDictionary[Any, tuple[Compiled | None, frozenset[int]]] = (
            weakref.WeakKeyDictionary()
        )
        self._count = 0

    def note(self, model: Any, arguments: dict[str, Any]) -> None:
        """A model is compiled with these arguments now."""
        self._count += 1
        self._compiled[model] = Compiled(self._count, arguments, user_place())

    def of(self, model: Any) -> Compiled | None:
        """The last one of a model."""
        return self._compiled.get(model)

    def note_trainable(self, model: Any) -> None:
        """Remember which weights the last `compile` meant to train, as soon as there are any."""
        compiled = self._compiled.get(model)
        if compiled is not None and model.built and self._trainable.get(model, (None,))[0] is not compiled:
            self._trainable[model] = (compiled, frozenset(id(v) for v in model.trainable_variables))

    def changed_trainable(self, model: Any) -> tuple[frozenset[int], frozenset[int]] | None:
        """(when compiled, now): the trainable weights, where they are not the same; `id`s."""
        compiled, meant = self._trainable.get(model, (None, frozenset()))
        now = frozenset(id(v) for v in model.trainable_variables) if model.built else meant
        return (meant, now) if compiled is self._compiled.get(model) and compiled is not None and now != meant else None

    def note_retrained(self, capture: Capture) -> None:
        """Note in a training call which weights it moved, if others are trainable in it than its `compile` meant."""
        changed = self.changed_trainable(capture.model)
        if changed is None or not capture.data:
            return
        meant, now = changed
        variables = capture.model.variables
        before = capture.weights if capture.error is None and capture.weights is not None else []
        moved = frozenset(
            id(v) for v, old in zip(variables, before, strict=False) if not np.array_equal(copy_of(v), old)
        )
        own = capture.compiled.serial if capture.compiled is not None else 0
        others = [
            one
            for one, compiled in self._compiled.items()
            if one is not capture.model and compiled.serial > own and one.built
        ]
        taken = any({id(v) for v in one.variables} & (meant ^ now) for one in others)
        capture.retrained = Retrained(meant, now, moved, taken)
