"""The outputs of a model and the targets that were given for them: names, order and nesting, as the user wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from lossproof.lab.backends import running_backend
from lossproof.lab.backends.base import Tensor


@dataclass(frozen=True)
class Output:
    """One output of the model on the captured batch."""

    name: str | None
    """Its key in a dict of outputs, else the name of the layer that makes it; None where nothing names it."""
    layer: str | None
    shape: tuple[int, ...]
    tensor: Tensor


@dataclass(frozen=True)
class Outputs:
    """The outputs of the model, in the order in which Keras flattens them (the keys of a dict are sorted)."""

    form: Literal["one", "list", "dict", "nested"]
    items: tuple[Output, ...]
    declared: tuple[int, ...]
    """Positions in `items` in the order in which the user wrote the outputs down."""

    @property
    def names(self) -> tuple[str | None, ...]:
        """Names in the flat order."""
        return tuple(one.name for one in self.items)

    @property
    def as_declared(self) -> tuple[Output, ...]:
        """The outputs in the order in which the user wrote them down."""
        return tuple(self.items[i] for i in self.declared)

    def packed(self, values: Sequence[Any]) -> Any:
        """One value for each of `items`, in the structure of the outputs."""
        if self.form == "one":
            return values[0]
        return list(values) if self.form == "list" else dict(zip(self.names, values, strict=True))


@dataclass(frozen=True)
class Given:
    """Targets (or weights) as the user nested them."""

    form: Literal["one", "list", "dict", "nested"]
    names: tuple[str, ...]
    """The keys of a dict, in the order in which they were written."""
    leaves: tuple[Any, ...]
    """The arrays in the order in which they were written."""

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each array on the captured batch."""
        return tuple(tuple(np.shape(leaf)) for leaf in self.leaves)


def outputs_of(model: Any, y_pred: Any) -> Outputs:
    """The outputs of a forward pass."""
    flat = keras.tree.flatten(y_pred)
    layers = getattr(model, "output_names", None) or ()
    names: list[Any] = list(layers) if len(layers) == len(flat) else [None] * len(flat)
    layer_names = list(names)
    declared = list(range(len(flat)))
    form: Literal["one", "list", "dict", "nested"] = "nested"
    if not keras.tree.is_nested(y_pred):
        form = "one"
    elif len(y_pred) == len(flat) and isinstance(y_pred, (list, tuple)):
        form = "list"
    elif len(y_pred) == len(flat) and isinstance(y_pred, dict):
        form = "dict"
        position = keras.tree.pack_sequence_as(y_pred, list(range(len(flat))))
        names = sorted(position, key=lambda key: position[key])
        declared = [position[key] for key in _declared_keys(model, y_pred)]
    items = [
        Output(name, layer, tuple(tensor.shape), tensor)
        for name, layer, tensor in zip(names, layer_names, flat, strict=True)
    ]
    return Outputs(form, tuple(items), tuple(declared))


def _declared_keys(model: Any, y_pred: dict[str, Any]) -> list[str]:
    try:
        told = model.output  # of a functional model: the outputs as given to `keras.Model`
    except Exception:  # a subclassed model has none, and says so by various errors
        told = None
    # PyTorch's trees sort the keys on the way through a functional model; what `call` returns keeps its order.
    return list(told) if isinstance(told, dict) and set(told) == set(y_pred) else list(y_pred)


def fits(target: Any, output: Output) -> bool:
    """Whether a target has the shape of an output, up to a last axis of 1, or one class number for each row of it.

    Class numbers are whole, and less than the size of the output's last axis.
    """
    values = as_numpy(target)
    given, wanted = values.shape, output.shape
    if given in (wanted, (*wanted, 1)) or (*given, 1) == wanted:
        return True
    if not wanted or given not in (wanted[:-1], (*wanted[:-1], 1)) or values.dtype.kind not in "iufb":
        return False
    return bool(np.all((values == np.floor(values)) & (values >= 0) & (values < wanted[-1])))


def as_numpy(data: Any) -> np.ndarray:
    """An array, a pandas object or a tensor as an array."""
    backend = running_backend()
    return np.asarray(backend.numpy(data) if backend.is_tensor(data) else data)


def given_of(data: Any, written: list[str] | None) -> Given:
    """How data are nested; `written` holds the keys of a dict in the order in which the user wrote them."""
    leaves = keras.tree.flatten(data)
    if not keras.tree.is_nested(data):
        return Given("one", (), (data,))
    if len(leaves) != len(data) or any(keras.tree.is_nested(leaf) for leaf in leaves):
        return Given("nested", (), tuple(leaves))
    if isinstance(data, dict):
        keys = written if written is not None and set(written) == set(data) else list(data)
        return Given("dict", tuple(keys), tuple(data[key] for key in keys))
    return Given("list", (), tuple(data))
