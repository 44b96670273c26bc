"""Terms as Keras saves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from lossproof import keras_private
from lossproof.objective.functions import unserializable_because
from lossproof.objective.graph import find, has_graph
from lossproof.objective.references import LayerOutput

_VARIABLE = "lossproof_variable"
_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {}
"""The functions that were given to terms in this process, by module and name: a file saved here is loaded here."""


def remember(function: Any) -> None:
    """Let `load_model` find a function of the user's module in this process without `custom_objects`."""
    if hasattr(function, "__module__") and hasattr(function, "__name__"):
        _FUNCTIONS[function.__module__, function.__name__] = function


def term_config(term: Any, model: Any = None) -> dict[str, Any]:
    """What a term is made of, serializable by Keras.

    Args:
        term: An `lp.Term`.
        model: Whose layers it refers to, so that layers and tensors can be told by name; None if it is not known.

    Raises:
        ValueError: its function cannot be saved, which `serializable=False` allowed until now.
    """
    because = unserializable_because(term.function.function) if not term.function.is_loss else None
    if because is not None:
        raise ValueError(
            f"Term {term.name!r} cannot be saved: its function is {because}. Save the weights alone "
            "(trainer.save_weights), or the model alone (trainer.model.save), or define the function at the top level of a "
            "module."
        )
    serialize = keras.saving.serialize_keras_object
    return {
        "function": serialize(term.function.function),
        # Some losses of Keras leave arguments out of their config: the delta of Huber, the axis of CosineSimilarity.
        "bound": {
            name: _written(value) for name, value in keras_private.bound_arguments(term.function.function).items()
        },
        "module": getattr(term.function.function, "__module__", None),  # Keras keeps the name alone
        "name": term.name,
        "output": serialize(term.output),
        "target": serialize(term.target),
        "weight": _written(term.weight),
        "reduction": term.reduction,
        "mask": term.mask,
        "sample_weight_of": term.sample_weight_of,
        "serializable": term.serializable,
        "arguments": {name: _written(_by_name(value, model, term.name, name)) for name, value in term.bindings.items()},
    }


def term_arguments(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `lp.Term` that a config describes."""
    kept = {key: value for key, value in config.items() if key not in ("module", "bound")}
    function = _read_function(config["function"], config["module"], config["name"])
    if config["bound"]:
        keras_private.bind_arguments(function, {name: _read(value) for name, value in config["bound"].items()})
    return {
        **kept,
        "function": function,
        "output": _read(config["output"]),
        "target": _read(config["target"]),
        "weight": _read(config["weight"]),
        "arguments": {name: _read(value) for name, value in config["arguments"].items()},
    }


def _read_function(config: Any, module: str, term: str) -> Any:
    try:
        return keras.saving.deserialize_keras_object(config)
    except TypeError as error:
        name = config.get("config") if isinstance(config, dict) else None
        known = _FUNCTIONS.get((module, name)) if isinstance(name, str) else None
        if known is not None:
            return known
        raise TypeError(
            f"The function {name!r} of term {term!r} is not known here. Decorate it with "
            f'@keras.saving.register_keras_serializable("my_package"), or pass it: '
            f'keras.saving.load_model(path, custom_objects={{"{name}": {name}}}).'
        ) from error


def _by_name(value: Any, model: Any, term: str, parameter: str) -> Any:
    """A reference to a layer by its name, which is all that a file can hold."""
    if not isinstance(value, LayerOutput) or isinstance(value.layer, str):
        return value
    if model is None or not has_graph(model):
        maker = keras_private.maker_of(value.layer) if isinstance(value.layer, keras.KerasTensor) else value.layer
        return LayerOutput(maker.name, value.call, value.output)
    place = find(value, model, term, parameter)
    call, output = place.call if place.calls > 1 else None, place.output if place.outputs > 1 else None
    return LayerOutput(place.path, call, output)


def _written(value: Any) -> Any:
    if isinstance(value, keras.Variable):
        return {
            _VARIABLE: {
                "value": ops.convert_to_numpy(value).tolist(),
                "dtype": keras.backend.standardize_dtype(value.dtype),
                "trainable": value.trainable,
                "name": value.name,
            }
        }
    return keras.saving.serialize_keras_object(value)


def _read(config: Any) -> Any:
    if isinstance(config, dict) and set(config) == {_VARIABLE}:
        kept = config[_VARIABLE]
        value = ops.convert_to_tensor(kept["value"], dtype=kept["dtype"])
        return keras.Variable(value, dtype=kept["dtype"], trainable=kept["trainable"], name=kept["name"])
    return keras.saving.deserialize_keras_object(config)
