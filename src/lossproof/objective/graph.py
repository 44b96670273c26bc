"""Finds the symbolic tensor that `lp.layer` means in a Functional or Sequential model, nested models included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from lossproof import keras_private
from lossproof.objective.nearest import did_you_mean, listed
from lossproof.objective.references import LayerOutput


@dataclass(frozen=True)
class Place:
    """Where a tensor is made: through which nested models, and which one it is in the innermost of them."""

    models: tuple[Any, ...]
    """The Trainer's model first, each the next one's parent; the last has the tensor in its graph."""
    tensor: Any
    path: str
    """The names of the nested models and of the layer, joined by "/"."""
    call: int
    calls: int
    output: int
    outputs: int

    @property
    def key(self) -> tuple[int, ...]:
        """The same for the same tensor."""
        return (*(id(one) for one in self.models), id(self.tensor))


def has_graph(model: Any) -> bool:
    """Whether the model runs a graph of layers that can be read: Functional or Sequential, with the `call` of Keras."""
    return keras_private.runs_its_graph(model)


def places(model: Any, parents: tuple[Any, ...] = (), prefix: str = "") -> Iterator[Place]:
    """Every tensor that a layer or operation gives in the graph of a model and in those of the models nested in it."""
    models = (*parents, model)
    for operation in keras_private.operations_of(model):
        nodes = keras_private.calls_of(model, operation)
        for call, tensors in enumerate(nodes):
            for output, tensor in enumerate(tensors):
                yield Place(models, tensor, prefix + operation.name, call, len(nodes), output, len(tensors))
        if has_graph(operation) and not any(operation is one for one in models):
            yield from places(operation, models, f"{prefix}{operation.name}/")


def find(reference: LayerOutput, model: Any, term: str, parameter: str) -> Place:
    """The one tensor that a reference means.

    Raises:
        ValueError: the model has no graph to look into, there is no such layer, or several tensors fit; with what to write.
    """
    where = f"Term {term!r}, argument {parameter!r}"
    if not has_graph(model):
        raise ValueError(
            f"{where}: {reference} cannot be found in {model.name!r}, a {type(model).__name__}: its call() is Python code, "
            "with no graph to look into. Return the tensor with the outputs, in a dict: "
            f'return {{"prediction": y, "{_name(reference)}": z}}, and refer to it by lp.output("{_name(reference)}").'
        )
    everywhere = list(places(model))
    found = _matching(reference, everywhere)
    if not found:
        names = list(dict.fromkeys(place.path for place in everywhere))
        if not isinstance(reference.layer, str):
            raise ValueError(
                f"{where}: {reference} is not part of what the model {model.name!r} computes. "
                f"Its layers are {listed(names)}."
            )
        hidden = _hidden(everywhere, reference.layer)
        raise ValueError(
            f"{where}: the model {model.name!r} has no layer {reference.layer!r}. Its layers are {listed(names)}."
            + did_you_mean(reference.layer, names)
            + hidden
        )
    paths = list(dict.fromkeys(place.path for place in found))
    if len(paths) > 1:
        say = ", ".join(f"lp.layer({path!r})" for path in paths)
        raise ValueError(f"{where}: {len(paths)} layers fit {reference}. Say which: {say}.")
    parents = {place.models[:-1] for place in found}
    found = _the_call(reference, found, where)
    found = _the_output(reference, found, where)
    _check_calls_of_parents(found[0], where, reference)
    assert len(parents) == 1
    return found[0]


def _name(reference: LayerOutput) -> str:
    given = reference.layer
    return str(given if isinstance(given, str) else given.name).rpartition("/")[2]


def _matching(reference: LayerOutput, everywhere: list[Place]) -> list[Place]:
    given = reference.layer
    if isinstance(given, str):
        exact = [place for place in everywhere if place.path == given]
        return exact or [place for place in everywhere if place.path.endswith("/" + given)]
    if isinstance(given, keras.KerasTensor):
        return [place for place in everywhere if place.tensor is given][:1]
    return [place for place in everywhere if keras_private.maker_of(place.tensor) is given]


def _hidden(everywhere: list[Place], name: str) -> str:
    """A word about a layer of that name inside a subclassed model or a layer of layers, which cannot be reached."""
    last = name.rpartition("/")[2]
    for place in everywhere:
        maker = keras_private.maker_of(place.tensor)
        if isinstance(maker, keras.Layer) and not has_graph(maker):
            inside = [one.name for one in keras_private.layers_of(maker) if one is not maker]
            if last in inside:
                return (
                    f" There is one inside {place.path!r}, a {type(maker).__name__}, whose call() is Python code with no graph "
                    "to look into: let it return the tensor as well."
                )
    return ""


def _the_call(reference: LayerOutput, found: list[Place], where: str) -> list[Place]:
    calls = sorted({place.call for place in found})
    if reference.call is None:
        if len(calls) > 1 and not isinstance(reference.layer, keras.KerasTensor):
            name = found[0].path
            raise ValueError(
                f"{where}: the layer {name!r} is called {len(calls)} times (it is shared). Say which call: "
                + " or ".join(f"lp.layer({name!r}, call={call})" for call in calls)
                + "; they are counted in the order in which they were written."
            )
        return found
    if reference.call not in calls:
        raise ValueError(
            f"{where}: {reference}, but {found[0].path!r} is called {len(calls)} times, call=0 being the first."
        )
    return [place for place in found if place.call == reference.call]


def _the_output(reference: LayerOutput, found: list[Place], where: str) -> list[Place]:
    if reference.output is None:
        if len(found) > 1:
            name = found[0].path
            raise ValueError(
                f"{where}: the layer {name!r} gives {len(found)} tensors. Say which: "
                + " or ".join(f"lp.layer({name!r}, output={place.output})" for place in found)
                + "."
            )
        return found
    chosen = [place for place in found if place.output == reference.output]
    if not chosen:
        raise ValueError(
            f"{where}: {reference}, but {found[0].path!r} gives {len(found)} tensors, output=0 being the first."
        )
    return chosen


def _check_calls_of_parents(place: Place, where: str, reference: LayerOutput) -> None:
    for parent, child in zip(place.models, place.models[1:], strict=False):
        calls = len(keras_private.calls_of(parent, child))
        if calls > 1:
            raise ValueError(
                f"{where}: {reference} is inside the model {child.name!r}, which {parent.name!r} calls {calls} times, so it "
                f"has {calls} values. Make the one you mean an output of {child.name!r}, and refer to it by "
                f"lp.layer({child.name!r}, call=..., output=...)."
            )
