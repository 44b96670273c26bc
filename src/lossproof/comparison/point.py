"""The objective at the initial weights on the first batch, and how exactly it can be known."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lossproof.capture.values import Changes
from lossproof.comparison.recording import Point, sampled
from lossproof.lab.backends import running_backend
from lossproof.lab.model import Functional
from lossproof.lab.received import Batch, as_batch
from lossproof.lab.step import run_step

NUDGES = 3

_Measured = tuple[list[np.ndarray], float, list[np.ndarray | None]]


def measure(model: Any, weights: list[np.ndarray], data: Any, changes: Changes) -> Point:
    """Evaluate predictions, loss and gradient; the model is left as it is.

    Args:
        model: The user's model, compiled and built.
        weights: The values of `model.variables` at the start.
        data: The first batch as the step received it, nested arrays.
        changes: The objective's Python values, which each evaluation finds as training found them.

    Raises:
        Whatever the user's code raises.
    """
    random = np.random.default_rng(0)
    spread: list[_Measured] = []
    with changes.undone():
        with changes.moved_inside():
            predictions, loss, gradients = _at(model, weights, data)
        for _ in range(NUDGES):
            moved = [_nudged(random, value) for value in weights]
            with changes.moved_inside():
                spread.append(_at(model, moved, _nudged_inputs(random, data)))
    return Point(
        predictions=tuple(map(sampled, predictions)),
        predictions_noise=tuple(_noise(one, [s[0][k] for s in spread]) for k, one in enumerate(predictions)),
        loss=loss,
        loss_noise=max(abs(s[1] - loss) for s in spread),
        gradients=tuple(None if one is None else sampled(one) for one in gradients),
        gradients_noise=tuple(
            None if one is None else _noise(one, [s[2][k] for s in spread]) for k, one in enumerate(gradients)
        ),
    )


def _noise(value: np.ndarray, others: list[Any]) -> np.ndarray:
    deviations = [np.abs(sampled(other) - sampled(value)) for other in others if other is not None]
    return np.max(deviations, axis=0) if deviations else np.zeros(sampled(value).shape)


def _nudged(random: np.random.Generator, value: np.ndarray) -> np.ndarray:
    if value.dtype.kind != "f":
        return value
    step = np.finfo(value.dtype).eps * random.choice([-1.0, 1.0], size=value.shape)
    moved: np.ndarray = (value * (1.0 + step)).astype(value.dtype)
    return moved


def _nudged_inputs(random: np.random.Generator, data: Any) -> Any:
    x, *rest = data if isinstance(data, tuple) else (data,)
    moved = keras.tree.map_structure(lambda leaf: _nudged(random, np.asarray(leaf)), x)
    return (moved, *rest) if isinstance(data, tuple) else moved


def _at(model: Any, weights: list[np.ndarray], data: Any) -> _Measured:
    functional = Functional(model, weights)
    batch = as_batch(data)
    own = vars(model).get("train_step")
    if own is not None or type(model).train_step is not keras.Model.train_step:
        return _of_step(functional, batch)
    backend = running_backend()
    with functional.scope():
        predictions = [
            _number(leaf) for leaf in keras.tree.flatten(functional.forward(batch.x).y_pred) if leaf is not None
        ]

    def total(*values: Any) -> Any:
        return keras.ops.cast(functional.objective(batch, list(values)), "float32")

    loss, gradients = backend.gradient(total, functional.start)
    return predictions, float(np.sum(_number(loss))), [None if g is None else _number(g) for g in gradients]


def _of_step(functional: Functional, batch: Batch) -> _Measured:
    outcome = run_step(functional, batch)
    known: dict[int, np.ndarray | None] = {}
    for variables, gradients in zip(outcome.applied, outcome.gradients, strict=True):
        for variable, gradient in zip(variables, gradients, strict=False):
            if variable is not None:
                known[id(variable)] = None if gradient is None else gradient.astype("float64")
    return [], float(sum(outcome.losses)), [known.get(id(one)) for one in functional.trainable]


def _number(tensor: Any) -> np.ndarray:
    return np.asarray(running_backend().numpy(tensor)).astype("float64")
