"""Is a mutant another objective than the original? Measured by steps of plain gradient descent, not by lossproof.

Both scripts are run up to their first `fit`. From equal weights, each model makes one eager step on equal rows, for
several batches of two sizes: the value that is reported and the change of every weight, which is the gradient times the
learning rate, are compared. Whether an objective stays finite where training leads is asked on labels that are predicted as
surely as a sigmoid or softmax can.
"""

from __future__ import annotations

import sys
import types
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

MODULE = "faulty_script"
BATCHES = (slice(0, 12), slice(12, 24), slice(24, 29))
SATURATING = 200.0
"""By what the weights are multiplied for predictions that are exactly 0 or 1."""


class Fitted(BaseException):
    """Raised by the first `fit`, with what it was given."""

    def __init__(self, model: keras.Model, data: dict[str, Any]) -> None:
        super().__init__("fit was called")
        self.model, self.data = model, data


def up_to_fit(path: Path) -> Fitted:
    """Run a script up to its first `fit`.

    Raises:
        RuntimeError: It has none.
        Whatever the script raises.
    """

    def fit(self: keras.Model, x: Any = None, y: Any = None, **named: Any) -> None:
        kept = ("batch_size", "sample_weight", "class_weight", "validation_data")
        raise Fitted(self, {"x": x, "y": y, **{key: named.get(key) for key in kept}})

    module = types.ModuleType(MODULE)
    module.__file__ = str(path)
    sys.modules[MODULE] = module  # where inspect looks for the source of classes
    original = keras.Model.fit
    keras.Model.fit = fit
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    except Fitted as fitted:
        return fitted
    finally:
        keras.Model.fit = original
    raise RuntimeError("the script never called fit")


@dataclass(frozen=True)
class Step:
    """One step: the reported loss, and by how much each trainable weight moved."""

    loss: float
    moved: tuple[np.ndarray, ...]

    @property
    def finite(self) -> bool:
        """Whether neither the value nor a weight is NaN or infinite."""
        return bool(np.isfinite(self.loss)) and all(np.isfinite(one).all() for one in self.moved)


@dataclass(frozen=True)
class Behaviour:
    """What a script's objective does."""

    ordinary: tuple[Step, ...]
    sure: Step | None
    """Where labels are predicted, and as surely as can be; None where there are no labels or no probabilities."""


@dataclass(frozen=True)
class Difference:
    """How a mutant differs from the original."""

    value: bool
    gradient: bool
    non_finite: bool
    dead: bool

    def has(self, needs: str) -> bool:
        """Whether what an operator needs is certified."""
        differs = self.value or self.gradient
        return {
            "differs": differs or self.non_finite,
            "non-finite": self.non_finite,
            "dead": self.dead,
            "as written": True,
        }[needs]


def behaviour(fitted: Fitted, weights: list[np.ndarray] | None = None) -> tuple[Behaviour, list[np.ndarray]]:
    """The steps of a script's model, and the weights from which it started.

    Args:
        fitted: The script at its first `fit`.
        weights: The values to start from, where they fit.
    """
    model, data = fitted.model, fitted.data
    model.run_eagerly = True
    if not model.built:
        model(_rows(data["x"], slice(0, 2)))
    start = [np.array(keras.ops.convert_to_numpy(one.value)) for one in model.variables]
    if weights is not None and [one.shape for one in weights] == [one.shape for one in start]:
        start = weights
    ordinary = tuple(_step(model, start, data, rows) for rows in BATCHES)
    large = [one * SATURATING if one.dtype.kind == "f" else one for one in start]
    sure = _attempt(model, large, _right(model, large, data), BATCHES[0])
    return Behaviour(ordinary, sure), start


def difference(original: Behaviour, mutant: Behaviour) -> Difference:
    """How two behaviours differ, beyond what rounding explains."""
    value = gradient = dead = False
    for old, new in zip(original.ordinary, mutant.ordinary, strict=True):
        value |= not np.isclose(old.loss, new.loss, rtol=1e-4, atol=1e-6)
        if [one.shape for one in old.moved] != [one.shape for one in new.moved]:
            gradient = True
            continue
        before, after = (np.concatenate([one.ravel() for one in step.moved]) for step in (old, new))
        gradient |= not bool(np.linalg.norm(before - after) <= 1e-3 * np.linalg.norm(before) + 1e-7)
        dead |= any(one.any() and not other.any() for one, other in zip(old.moved, new.moved, strict=True))
    pairs = [*zip(original.ordinary, mutant.ordinary, strict=True), (original.sure, mutant.sure)]
    non_finite = any(old is not None and new is not None and old.finite and not new.finite for old, new in pairs)
    return Difference(value, gradient, non_finite, dead)


def _step(model: keras.Model, start: list[np.ndarray], data: dict[str, Any], rows: slice) -> Step:
    keras.utils.set_random_seed(5)
    _assign(model, start)
    trainable = [np.array(keras.ops.convert_to_numpy(one.value)) for one in model.trainable_variables]
    cut = {key: _rows(data[key], rows) for key in ("x", "y", "sample_weight")}
    logs = model.train_on_batch(**cut, class_weight=data["class_weight"], return_dict=True)
    moved = [np.array(keras.ops.convert_to_numpy(one.value)) for one in model.trainable_variables]
    model.reset_metrics()
    return Step(float(logs["loss"]), tuple(after - before for before, after in zip(trainable, moved, strict=True)))


def _attempt(model: keras.Model, start: list[np.ndarray], data: dict[str, Any] | None, rows: slice) -> Step | None:
    if data is not None:
        with suppress(Exception):
            return _step(model, start, data, rows)
    return None


def _right(model: keras.Model, start: list[np.ndarray], data: dict[str, Any]) -> dict[str, Any] | None:
    """The labels that the model predicts; None where the targets are no labels, or the outputs no probabilities."""
    predicted = _predicted(model, start, data)
    if (
        predicted is None
        or not set(np.unique(data["y"])) <= {0.0, 1.0}
        or predicted.min() < 0.0
        or predicted.max() > 1.0
    ):
        return None
    if predicted.ndim == 2 and predicted.shape[1] > 1 and np.allclose(data["y"].sum(axis=1), 1.0):
        return {**data, "y": np.eye(predicted.shape[1], dtype="float32")[predicted.argmax(axis=1)]}
    return {**data, "y": np.round(predicted)}


def _predicted(model: keras.Model, start: list[np.ndarray], data: dict[str, Any]) -> np.ndarray | None:
    _assign(model, start)
    if not isinstance(data["y"], np.ndarray):
        return None
    predicted = model(_rows(data["x"], slice(None)))
    if isinstance(predicted, (dict, list, tuple)) or tuple(predicted.shape) != data["y"].shape:
        return None
    return np.array(keras.ops.convert_to_numpy(predicted))


def _assign(model: keras.Model, values: list[np.ndarray]) -> None:
    for variable, value in zip(model.variables, values, strict=False):
        variable.assign(value)


def _rows(data: Any, rows: slice) -> Any:
    """Rows as tensors, which is how `fit` hands them to a step."""
    if data is None:
        return None
    return keras.tree.map_structure(lambda leaf: keras.ops.convert_to_tensor(leaf[rows]), data)
