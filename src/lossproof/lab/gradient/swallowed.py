"""Layers of a functional model that a layer of the user's takes in, and of whose results it makes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from lossproof.capture.batch import count_rows, in_memory, sample_rows, take_rows
from lossproof.capture.place import place_of_function
from lossproof.capture.userfiles import is_user_function
from lossproof.findings.finding import Place
from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import quiet
from lossproof.lab.lab import Lab
from lossproof.lab.received import to_tensors
from lossproof.lab.replace import replaced

BATCHES = 4
"""How many batches' worth of rows are looked at, from all over the data: a gate may be closed for one batch."""


@dataclass(frozen=True)
class Swallowed:
    """Where the results of some weights end."""

    layer: str
    where: Place | None


@dataclass(frozen=True)
class _Call:
    """One call of a layer of the user's."""

    layer: Any
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]


def swallowed(lab: Lab, start: list[Tensor], moved: list[Tensor]) -> Swallowed | None:
    """The layer of the user's whose inputs follow some weights and whose outputs do not, in training and outside of it.

    None where such a layer is not found, or where the data cannot be looked at beyond the captured batch.
    """
    x = _rows(lab)
    if x is None:
        return None
    found: Swallowed | None = None
    for training in (True, False):
        before, after = _calls(lab, x, start, training), _calls(lab, x, moved, training)
        if len(before) != len(after) or not _same(before[-1].outputs, after[-1].outputs):
            return None
        ends = [a for a, b in zip(before[:-1], after[:-1], strict=True) if _ends(a, b)]
        if not ends:
            return None
        layer = ends[0].layer
        function = layer.function if isinstance(layer, keras.layers.Lambda) else type(layer).call
        found = Swallowed(layer.name, place_of_function(function))
    return found


def _ends(a: _Call, b: _Call) -> bool:
    return a.layer is b.layer and not _same(a.inputs, b.inputs) and _same(a.outputs, b.outputs)


def _same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(one, other, equal_nan=True) for one, other in zip(a, b, strict=True))


def _rows(lab: Lab) -> Any:
    """Inputs from all over the data; None where the data are read batch by batch."""
    data = lab.capture.data
    if not in_memory(data.get("x"), data.get("y")):
        return None
    count = count_rows(data["x"])
    if count is None:
        return None
    return to_tensors(take_rows(data["x"], sample_rows(count, BATCHES * lab.batch_size, spread=True)))


def _calls(lab: Lab, x: Any, weights: list[Tensor], training: bool) -> list[_Call]:
    """The calls of the user's layers in one forward pass, and last the model's own."""
    calls: list[_Call] = []

    def arrays(data: Any) -> list[np.ndarray]:
        return [lab.number(leaf) for leaf in keras.tree.flatten(data) if lab.backend.is_tensor(leaf)]

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(layer, *args, **kwargs)
            if layer is not lab.capture.model and _is_users(layer):
                calls.append(_Call(layer, arrays((args, kwargs)), arrays(result)))
            return result

        return call

    with quiet(lab), replaced(keras.layers.Layer, "__call__", make), lab.model.scope(weights):
        forward = lab.model.forward(x, training)
        calls.append(_Call(lab.capture.model, [], arrays((forward.y_pred, forward.losses))))
    return calls


def _is_users(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Lambda):
        return is_user_function(layer.function)
    return not isinstance(layer, keras.Model) and is_user_function(type(layer).call)
