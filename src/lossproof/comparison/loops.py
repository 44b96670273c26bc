"""Training loops of the user's own, as their optimizers see them: gradients and weights of each step.

Neither the batches nor the loss pass through Keras there, so a loop is compared by what it does to the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from lossproof import keras_private
from lossproof.capture.place import user_place
from lossproof.comparison.causes import LOOP
from lossproof.comparison.recording import Optimizer, Point, Step, Training, Variable, sampled
from lossproof.lab.backends import running_backend
from lossproof.lab.replace import replaced


class Loop:
    """One optimizer that is used outside any fit."""

    def __init__(self, optimizer: Any, where: str, mode: str, paths: list[str]) -> None:
        self.optimizer = optimizer
        self._where, self._mode, self._paths = where, mode, paths
        self._before: list[list[np.ndarray]] = []
        self._gradients: list[list[np.ndarray]] = []
        self._after: list[list[np.ndarray]] = []

    def told_before(self, values: list[np.ndarray], most: int) -> None:
        """A step is about to update: the weights, then the gradients."""
        if len(self._before) < most:
            half = len(self._paths)
            self._before.append([np.array(one) for one in values[:half]])
            self._gradients.append([np.array(one) for one in values[half:]])

    def told_after(self, values: list[np.ndarray], most: int) -> None:
        """It has updated the weights."""
        if len(self._after) < most:
            self._after.append([np.array(one) for one in values])

    def training(self) -> Training | None:
        """What was seen; None where no step was."""
        if not self._before or not self._after:
            return None
        gradients = tuple(sampled(one.astype("float64")) for one in self._gradients[0])
        point = Point((), (), float("nan"), 0.0, gradients, tuple(np.zeros(one.shape) for one in gradients))
        variables = zip(self._paths, self._before[0], strict=True)
        return Training(
            call=LOOP,
            where=self._where,
            model="a loop of its own",
            mode=self._mode,
            objective="a loop of its own",
            variables=tuple(Variable(path, "trainable", value) for path, value in variables),
            optimizer=Optimizer(type(self.optimizer).__name__, _config(self.optimizer), ()),
            generators=None,
            rows=None,
            batches=(),
            steps=tuple(Step(None, tuple(map(sampled, values))) for values in self._after),
            point=point,
            notes=(
                "a training loop of its own is compared by gradients and weights; its batches and losses are not seen",
            ),
        )


@contextmanager
def watched_loops(loops: list[Loop], inside_fit: Callable[[], bool], most: int) -> Iterator[None]:
    """Inside, steps of optimizers outside any fit are noted in `loops`."""
    backend = running_backend()

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def apply(optimizer: Any, grads: Any, trainable_variables: Any = None) -> Any:
            if inside_fit():
                return original(optimizer, grads, trainable_variables)
            variables = list(trainable_variables or keras_private.optimized_variables(optimizer))
            pairs = [(g, v) for g, v in zip(list(grads), variables, strict=False) if g is not None]
            loop = next((one for one in loops if one.optimizer is optimizer), None)
            if loop is None and pairs:
                place = user_place()
                where = f"{place.file}:{place.line}" if place is not None else "?"
                mode = backend.mode_of([g for g, _ in pairs])
                loop = Loop(optimizer, where, mode, [getattr(v, "path", "?") for _, v in pairs])
                loops.append(loop)
            if loop is None:
                return original(optimizer, grads, trainable_variables)

            def values() -> list[Any]:
                return [keras.ops.convert_to_tensor(v) for _, v in pairs]

            backend.tell(lambda told: loop.told_before(told, most), [*values(), *(g for g, _ in pairs)])
            result = original(optimizer, grads, trainable_variables)
            backend.tell(lambda told: loop.told_after(told, most), values())
            return result

        return backend.untraced(apply)  # AutoGraph would convert it, and what it calls

    with replaced(keras.optimizers.Optimizer, "apply", make):
        yield


def _config(optimizer: Any) -> Any:
    try:
        return keras.optimizers.serialize(optimizer)
    except Exception:  # one of the user's own that cannot say
        return None
