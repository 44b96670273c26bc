"""Binds the parameters of a term's function to tensors: what was said, what follows from a name, or an error."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from lossproof.objective.graph import Place, find, has_graph
from lossproof.objective.naming import Named, look_up
from lossproof.objective.nearest import did_you_mean, listed
from lossproof.objective.reduction import TermLoss, loss_of_pair
from lossproof.objective.references import Input, LayerOutput, Output, Reference, SampleWeight, Step, Target
from lossproof.objective.term import Term


@dataclass(frozen=True)
class Candidates:
    """What there is to refer to. None for what is not known before the first batch."""

    outputs: Named | None
    inputs: Named | None
    targets: Named | None
    model: Any


@dataclass(frozen=True)
class Bound:
    """A term whose every parameter is bound. The dicts are by parameter, and hold names."""

    term: Term
    targets: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """(name, dtype)."""
    outputs: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    layers: dict[str, Place] = field(default_factory=dict)
    sample_weights: dict[str, str | None] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    constants: dict[str, Any] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    """Parameters that nothing known so far binds; targets, or an error at the first batch."""

    @functools.cached_property
    def pair(self) -> Any:
        """The loss object of a function of `(y_true, y_pred)` and constants, as `compile(loss=...)` takes it."""
        return loss_of_pair(self.term, self.constants)

    @functools.cached_property
    def form(self) -> TermLoss:
        """The loss object of a function of any arguments; to be copied for each batch, whose arguments it holds."""
        read = self.term.function
        return TermLoss(read.function, read.positional, self.term.name, self.term.reduction)

    @property
    def weighted_by(self) -> str | None:
        """The target whose sample weights act on the term; None for none (weights for all act nevertheless)."""
        if self.term.sample_weight_of is not None:
            return self.term.sample_weight_of
        names = list(dict.fromkeys(name for name, _ in self.targets.values()))
        if "y_true" in self.targets:
            return self.targets["y_true"][0]
        return names[0] if len(names) == 1 else None


def bind(term: Term, there: Candidates) -> Bound:
    """Bind a term.

    Called at construction with what is known of the model, and again when the first batch tells the rest.

    Raises:
        ValueError: a name that is none, or several; a parameter that nothing binds. Candidates are listed.
    """
    bound = Bound(term)
    for name, value in term.bindings.items():
        bound = _bind_one(bound, name, value, there)
    for parameter in term.function.parameters:
        if parameter.name in term.bindings:
            continue
        if parameter.name == "y_pred":
            bound = _bind_one(bound, "y_pred", _default_output(term), there)
        elif parameter.name == "y_true":
            bound = _bind_one(bound, "y_true", _default_target(term, bound, there), there)
        elif parameter.required:
            bound = _bind_by_name(bound, parameter.name, there)
    return bound


def _bind_one(bound: Bound, name: str, value: Any, there: Candidates) -> Bound:
    term = bound.term
    if not isinstance(value, Reference):
        return replace(bound, constants={**bound.constants, name: _constant(value, term, name)})
    pending = replace(bound, pending=(*bound.pending, name))
    if isinstance(value, Target):
        if there.targets is None:
            return pending
        found = look_up("target", value.name, _or_no_targets(there.targets, term, name), term.name, name)
        return replace(bound, targets={**bound.targets, name: (found, value.dtype)})
    if isinstance(value, Output):
        if there.outputs is None:
            return pending
        return replace(
            bound, outputs={**bound.outputs, name: look_up("output", value.name, there.outputs, term.name, name)}
        )
    if isinstance(value, Input):
        if there.inputs is None:
            return pending
        return replace(
            bound, inputs={**bound.inputs, name: look_up("input", value.name, there.inputs, term.name, name)}
        )
    if isinstance(value, LayerOutput):
        if isinstance(there.model, keras.Sequential) and not there.model.built:
            return pending
        return replace(bound, layers={**bound.layers, name: find(value, there.model, term.name, name)})
    if isinstance(value, SampleWeight):
        return replace(bound, sample_weights={**bound.sample_weights, name: value.target})
    assert isinstance(value, Step)
    return replace(bound, steps=(*bound.steps, name))


def _or_no_targets(targets: Named, term: Term, parameter: str) -> Named:
    if not targets:
        raise ValueError(
            f"Term {term.name!r}, argument {parameter!r}: it takes a target, and there are no targets (y is None). "
            "Pass y to fit, or bind the argument to something else."
        )
    return targets


def _constant(value: Any, term: Term, parameter: str) -> Any:
    if isinstance(value, keras.KerasTensor):
        raise TypeError(
            f"Term {term.name!r}, argument {parameter!r}: a symbolic tensor of a model has no value outside of it. "
            f"Write {parameter}=lp.layer(tensor)."
        )
    return value


def _default_output(term: Term) -> Output:
    return term.output if term.output is not None else Output(None)


def _default_target(term: Term, bound: Bound, there: Candidates) -> Target:
    """The target that `y_true` is where nothing says so: the one named like the output of `y_pred`, else the only one."""
    if term.target is not None:
        return term.target
    output = bound.outputs.get("y_pred")
    if output is None and term.output is not None and isinstance(term.output.name, str):
        output = term.output.name
    if output is not None and (there.targets is None or output in there.targets) and _matters(output, there):
        return Target(output)
    return Target(None)


def _matters(output: str, there: Candidates) -> bool:
    # One target has any name: a model with one output and one target needs none.
    return there.targets is not None and output in there.targets


def _bind_by_name(bound: Bound, name: str, there: Candidates) -> Bound:
    """Bind a parameter that is called like one output, target, input or layer."""
    term = bound.term
    found: list[tuple[str, Reference]] = []
    if name in (there.outputs or {}):
        found.append((f"lp.output({name!r})", Output(name)))
    if name in (there.targets or {}):
        found.append((f"lp.target({name!r})", Target(name)))
    if name in (there.inputs or {}):
        found.append((f"lp.input({name!r})", Input(name)))
    if has_graph(there.model):
        found.extend(_layers_called(name, there))
    if len(found) == 1 and (there.targets is not None or not isinstance(found[0][1], Target)):
        return _bind_one(bound, name, found[0][1], there)
    if not found and None in (there.targets, there.outputs, there.inputs):
        return replace(bound, pending=(*bound.pending, name))
    where = f"Term {term.name!r}: the parameter {name!r} of {term.function.name}"
    if found:
        raise ValueError(
            f"{where} fits several things: {', '.join(text for text, _ in found)}. "
            f"Say which: lp.Term({term.function.name}, {name}={found[0][0]})."
        )
    groups = {
        "outputs": list(there.outputs or ()),
        "targets": list(there.targets or ()),
        "inputs": list(there.inputs or ()),
        "layers": _layer_names(there),
    }
    everything = [one for names in groups.values() for one in names]
    raise ValueError(
        f"{where} is bound to nothing, and no output, target, input or layer is called so. "
        + "".join(f"{kind.capitalize()}: {listed(names)}. " for kind, names in groups.items())
        + f"Bind it: lp.Term({term.function.name}, {name}=lp.output(...)).{did_you_mean(name, everything)}"
    )


def _layers_called(name: str, there: Candidates) -> list[tuple[str, Reference]]:
    """Layers of that name which are not what an output or input of that name is anyway."""
    from lossproof.objective.graph import places

    paths = dict.fromkeys(
        place.path
        for place in places(there.model)
        if (place.path == name or place.path.endswith("/" + name))
        and not (name in (there.outputs or {}) and _is_among(place.tensor, there.model.outputs))
        and not (name in (there.inputs or {}) and _is_among(place.tensor, there.model.inputs))
    )
    return [(f"lp.layer({path!r})", LayerOutput(path)) for path in paths]


def _is_among(tensor: Any, tensors: Any) -> bool:
    return any(tensor is one for one in tensors)


def _layer_names(there: Candidates) -> list[str]:
    from lossproof.objective.graph import places

    if not has_graph(there.model):
        return []
    return list(dict.fromkeys(place.path for place in places(there.model)))
