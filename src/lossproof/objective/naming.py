"""Names for the tensors of a step: the outputs of a model, its inputs, the targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from lossproof import keras_private
from lossproof.objective.graph import has_graph
from lossproof.objective.nearest import did_you_mean, listed

Tensor = Any
Named = dict[str, Tensor]


def named(structure: Any, names: Sequence[str] | None) -> Named:
    """The tensors of a structure by name, in the order in which Keras flattens it.

    Of a dict its keys are the names (joined by "/" where dicts are nested). Lists take `names`, if there are as many; else
    the positions are the names ("0", "1"), and so is a single tensor without a name.
    """
    if structure is None:
        return {}
    if isinstance(structure, dict):
        found: Named = {}
        for key, value in structure.items():
            if isinstance(value, (dict, list, tuple)):
                found.update({f"{key}/{inner}": tensor for inner, tensor in named(value, None).items()})
            else:
                found[str(key)] = value
        return found
    flat = keras.tree.flatten(structure) if isinstance(structure, (list, tuple)) else [structure]
    chosen = list(names) if names is not None and len(names) == len(flat) else [str(i) for i in range(len(flat))]
    return dict(zip(chosen, flat, strict=True))


def output_names(model: Any) -> list[str] | None:
    """The names of a model's outputs as Keras gives them, or None for a model without any (a subclassed one)."""
    names = getattr(model, "output_names", None)
    if names is None and isinstance(model, keras.Sequential) and model.layers:
        last = model.layers[-1]
        return output_names(last) if isinstance(last, keras.Model) and output_names(last) else [last.name]
    return list(names) if names is not None else None


def input_names(model: Any) -> list[str] | None:
    """The names of a model's `keras.Input`s, in their order, or None for a model without any."""
    try:
        return [tensor.name for tensor in model.inputs]
    except AttributeError:
        return None


def static_outputs(model: Any) -> Named | None:
    """The symbolic outputs of a model by name; None if only calling it tells."""
    if not has_graph(model):
        return None
    return named(keras_private.output_structure(model), output_names(model))


def static_inputs(model: Any) -> Named | None:
    """The symbolic inputs of a model by name; None if only calling it tells.

    A model that takes a dict may be given more keys than it uses, and terms may refer to those.
    """
    if not has_graph(model) or isinstance(keras_private.input_structure(model), dict):
        return None
    return named(keras_private.input_structure(model), input_names(model))


def without_extras(inputs: Any, model: Any) -> Any:
    """A dict of inputs without keys that a Functional model does not take; what terms refer to may stand beside them."""
    names = input_names(model) if has_graph(model) else None
    if not isinstance(inputs, dict) or names is None or not set(names) < set(inputs):
        return inputs
    return {name: inputs[name] for name in names}


def look_up(kind: str, name: str | int | None, candidates: Named, term: str, parameter: str) -> str:
    """The name of the candidate that a reference means.

    Args:
        kind: "output", "input" or "target", for the error.
        name: As the reference has it; None for the only one.
        candidates: What there is.
        term: The name of the term, for the error.
        parameter: The parameter of its function, for the error.

    Raises:
        ValueError: none or several fit; the candidates are listed, and the nearest is suggested.
    """
    names = list(candidates)
    where = f"Term {term!r}, argument {parameter!r}"
    if isinstance(name, int):
        if name < len(names):
            return names[name]
        raise ValueError(f"{where}: there is no {kind} number {name}; there are {len(names)}: {listed(names)}.")
    if name is None:
        if len(names) == 1:
            return names[0]
        what = f"several {kind}s" if names else f"no {kind}s"
        say = f" Say which: lp.{kind}({names[0]!r})." if names else ""
        raise ValueError(f"{where}: lp.{kind}() is the only {kind}, and there are {what}: {listed(names)}.{say}")
    if name in candidates:
        return name
    if names == ["0"]:
        raise ValueError(f"{where}: there is no {kind} {name!r}; the one {kind} has no name. Write lp.{kind}().")
    raise ValueError(
        f"{where}: there is no {kind} {name!r}. The {kind}s are {listed(names)}.{did_you_mean(name, names)}"
    )
