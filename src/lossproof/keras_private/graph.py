"""Models and the layers, calls and symbolic tensors that they are made of."""

from __future__ import annotations

import dis
import functools
import inspect
import types
from typing import Any

import keras


def is_functional(model: Any) -> bool:
    """Whether a model was made of symbolic tensors (keras/src/models/functional.py)."""
    from keras.src.models.functional import Functional

    return isinstance(model, Functional)


def runs_its_graph(model: Any) -> bool:
    """Whether a model's `call` is that of Functional or Sequential, and there is a graph that it runs (models/)."""
    from keras.src.models.functional import Functional

    if isinstance(model, keras.Sequential):
        return model._functional is not None and type(model).call is keras.Sequential.call
    return isinstance(model, Functional) and type(model).call is Functional.call


def _function(model: Any) -> Any:
    return model._functional if isinstance(model, keras.Sequential) else model


def operations_of(model: Any) -> list[Any]:
    """The layers and operations in the graph of a Functional or Sequential model (keras/src/ops/function.py)."""
    return list(_function(model)._operations)


def calls_of(model: Any, operation: Any) -> list[list[Any]]:
    """What each call of an operation gives in the graph of a model, in the order of the calls (keras/src/ops/node.py)."""
    inside = {id(node) for nodes in _function(model)._nodes_by_depth.values() for node in nodes}
    return [list(node.outputs) for node in operation._inbound_nodes if id(node) in inside]


def output_structure(model: Any) -> Any:
    """The symbolic outputs of a Functional or Sequential model, nested as it gives them (models/functional.py)."""
    return _function(model)._outputs_struct


def input_structure(model: Any) -> Any:
    """The symbolic inputs of a Functional or Sequential model, nested as it takes them (models/functional.py)."""
    return _function(model)._inputs_struct


def maker_of(tensor: Any) -> Any:
    """The operation that makes a `KerasTensor` (keras/src/ops/node.py)."""
    return getattr(getattr(tensor, "_keras_history", None), "operation", None)


def layer_of(tensor: Any) -> str | None:
    """The name of the operation that makes a `KerasTensor` (keras/src/ops/node.py)."""
    return getattr(maker_of(tensor), "name", None)


def layers_of(model: Any) -> list[Any]:
    """Every layer of a model, however deep (keras/src/layers/layer.py)."""
    return list(model._flatten_layers())


@functools.cache
def set_by_keras() -> frozenset[str]:
    """The attributes that Keras's own base classes of models and layers assign, as their methods' bytecode says."""
    from keras.src.models.functional import Functional

    names: set[str] = set()

    def read(code: types.CodeType) -> None:
        names.update(one.argval for one in dis.get_instructions(code) if one.opname == "STORE_ATTR")
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                read(constant)

    for cls in {*keras.Sequential.__mro__, *Functional.__mro__}:
        for member in vars(cls).values():
            for one in (member, getattr(member, "fget", None), getattr(member, "fset", None)):
                if isinstance(one, types.FunctionType):
                    read(inspect.unwrap(one).__code__)
    return frozenset(names)
