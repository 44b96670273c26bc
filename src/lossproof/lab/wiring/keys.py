"""The keys of `compile` and `fit` against the names of the outputs, and each argument with its keys put right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossproof.lab.noise import differs
from lossproof.lab.wiring.compiled import CompiledObjective, Wired
from lossproof.lab.wiring.naming import Meant, meant
from lossproof.lab.wiring.outputs import Outputs

COMPILED = ("loss", "loss_weights", "metrics", "weighted_metrics")


@dataclass(frozen=True)
class Repair:
    """One argument with its keys put right."""

    argument: str
    unknown: Mapping[str, Meant]
    """The keys that name no output, and what each stands for."""
    value: Any
    by_position: bool = False
    """Whether the dict became a list: the outputs have no names, or Keras asks for positions."""
    targets: Any = None
    """The targets in the same structure, where Keras asks for that, too."""


@dataclass(frozen=True)
class Acting:
    """The weight that acts on the loss of one output."""

    output: str
    said: float
    """What the key of this output says; what acts, where no key can be told to be this output's."""
    measured: float
    value: float
    """The unweighted loss."""
    wrong: bool


def repaired(compiled: CompiledObjective) -> tuple[tuple[Repair, ...], Wired | None]:
    """The arguments that must be put right for the objective to have a value, and the objective with all of them.

    None where that is not enough.
    """
    repairs = list(_repairs(compiled))
    after = _attempt(compiled, repairs) if repairs else None
    if after is None:
        return (), None
    needed = [one for one in repairs if _attempt(compiled, [other for other in repairs if other is not one]) is None]
    return tuple(needed), after


def unknown_keys(keyed: Mapping[str, Any], outputs: Outputs) -> dict[str, Meant]:
    """The keys that name no output, and what each stands for."""
    names = [str(one.name) for one in outputs.as_declared]
    layers = {one.layer: str(one.name) for one in outputs.items if one.layer is not None}
    return meant(list(keyed), names, layers)


def _repairs(compiled: CompiledObjective) -> Iterator[Repair]:
    """Each argument whose keys do not match, with keys that do."""
    outputs = compiled.outputs
    names = [str(one.name) for one in outputs.items]
    named = all(one.name is not None for one in outputs.items)
    for argument, value in compiled.told.items():
        if not isinstance(value, dict) or (argument == "y" and outputs.form == "one"):
            continue
        if not named:
            if argument != "y" and len(value) == len(outputs.items):
                entries = list(value.values())
                yield Repair(argument, {}, entries[0] if outputs.form == "one" else entries, by_position=True)
            continue
        unknown = unknown_keys(value, outputs)
        renamed = _renamed(value, unknown)
        if argument == "sample_weight" and outputs.form == "list":
            y = compiled.told["y"]
            targets = [y[name] for name in names] if isinstance(y, dict) and set(y) == set(names) else None
            if set(renamed) == set(names):
                yield Repair(argument, unknown, [renamed[name] for name in names], not unknown, targets)
        elif unknown:
            yield Repair(argument, unknown, renamed)


def _renamed(keyed: Mapping[str, Any], unknown: Mapping[str, Meant]) -> dict[str, Any]:
    names = {key: unknown[key].name if key in unknown else key for key in keyed}
    return {name: keyed[key] for key, name in names.items() if name is not None}


def _attempt(compiled: CompiledObjective, repairs: Sequence[Repair]) -> Wired | None:
    batch: dict[str, Any] = {}
    for one in repairs:
        if one.targets is not None:
            batch["y"] = one.targets
    batch.update({one.argument: one.value for one in repairs if one.argument not in COMPILED})
    return compiled.attempt(batch, **{one.argument: one.value for one in repairs if one.argument in COMPILED})


def acting_weights(compiled: CompiledObjective, wired: Wired) -> list[Acting]:
    """What `loss_weights`, a dict, says for each output and what it does; empty where the total cannot tell."""
    outputs = compiled.outputs
    measured = compiled.effective_weights(wired)
    if not np.all(np.isfinite(measured)):
        return []
    said = _weights_said(outputs, compiled.arguments.loss_weights)
    found = []
    for term, weight in zip(wired.terms, measured, strict=True):
        if term.output is not None:
            own = said.get(term.output, weight)
            wrong = differs(weight, own, compiled.precision, 64, scale=4 * max(map(abs, measured)))
            found.append(Acting(str(outputs.names[term.output]), own, weight, term.value, wrong))
    return found


def _weights_said(outputs: Outputs, weights: Mapping[str, Any]) -> dict[int, float]:
    """The weight that the keys say for each output (flat position), as far as they say anything."""
    unknown = unknown_keys(weights, outputs)
    entries = _renamed(weights, unknown)
    said = {i: float(entries[name]) for i, name in enumerate(outputs.names) if name in entries}
    if all(one.name is not None for one in unknown.values()):
        # An output that no key can mean has Keras's own weight of one.
        said.update({i: 1.0 for i, name in enumerate(outputs.names) if name not in entries})
    return said


def sorted_lists(compiled: CompiledObjective) -> dict[str, Any]:
    """The lists given to a dict of outputs that was not declared in sorted order, as dicts in the declared order."""
    outputs, told = compiled.outputs, compiled.arguments
    names = [one.name for one in outputs.as_declared]
    if outputs.form != "dict" or outputs.declared == tuple(range(len(names))):
        return {}
    if isinstance(told.loss, dict) and list(told.loss) != names:
        return {}  # which order is meant cannot be told
    lists = {"loss": told.loss, "loss_weights": told.loss_weights}
    return {
        key: dict(zip(names, value, strict=True))
        for key, value in lists.items()
        if isinstance(value, (list, tuple)) and len(value) == len(names)
    }
