"""Which target has which name, and whose the sample weights are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from lossproof.objective.naming import Named, named
from lossproof.objective.nearest import listed
from lossproof.objective.objective import Objective
from lossproof.objective.references import Target


def named_targets(y: Any, outputs: Sequence[str], wanted: Sequence[str]) -> Named:
    """The targets by name.

    Args:
        y: As `fit` passes it to `compute_loss`.
        outputs: The names of the model's outputs, in their order.
        wanted: The distinct names that the objective refers to, in the order of its terms.

    A dict has its keys. A list has the names of the outputs in their order, so it must have as many entries; a list of one
    is as a single array, which has the one name that is wanted (if any), else that of the only output.

    Raises:
        ValueError: a list whose entries have no certain names, or one target where the objective names several.
    """
    if y is None:
        return {}
    if isinstance(y, dict):
        return named(y, None)
    flat = keras.tree.flatten(y) if isinstance(y, (list, tuple)) else [y]
    if len(flat) == 1:
        if len(wanted) > 1:
            raise ValueError(
                f"The objective refers to the targets {listed(wanted)}, and y is one array. "
                f"Pass a dict: y={{{', '.join(f'{name!r}: ...' for name in wanted)}}}."
            )
        name = wanted[0] if wanted else (outputs[0] if len(outputs) == 1 else "0")
        return {name: flat[0]}
    by_output = dict(zip(outputs, flat, strict=True)) if len(flat) == len(outputs) else None
    if by_output is not None and set(wanted) <= set(outputs):
        return by_output
    why = (
        f"the model has {len(outputs)} output{'s' if len(outputs) != 1 else ''}: {listed(outputs)}"
        if by_output is None
        else f"their names, those of the outputs, are {listed(outputs)}"
    )
    refers = f", and the objective refers to {listed(wanted)}" if wanted else ""
    raise ValueError(
        f"y is a list of {len(flat)} targets where {why}{refers}. A list is matched with the outputs by position; "
        "pass a dict to name targets that are no outputs: y={"
        + ", ".join(f"{name!r}: ..." for name in (wanted or outputs))
        + "}."
    )


def named_weights(sample_weight: Any, targets: Sequence[str]) -> Any:
    """The sample weights: None, one array for all, or a dict of arrays (or None) by target.

    Raises:
        ValueError: weights for another number of targets than there are, or for names that are none.
    """
    if sample_weight is None or not isinstance(sample_weight, (dict, list, tuple)):
        return sample_weight
    if isinstance(sample_weight, dict):
        unknown = [name for name in sample_weight if name not in targets]
        if unknown:
            raise ValueError(f"sample_weight has {listed(unknown)}, and the targets are {listed(targets)}.")
        return dict(sample_weight)
    if len(sample_weight) == 1:
        return sample_weight[0]
    if len(sample_weight) != len(targets):
        raise ValueError(
            f"sample_weight is a list of {len(sample_weight)} where there are {len(targets)} targets: {listed(targets)}. "
            "Pass one array for all of them, or a dict by target."
        )
    return dict(zip(targets, sample_weight, strict=True))


def wanted_targets(objective: Objective) -> list[str]:
    """The distinct names of targets that the terms refer to, in order."""
    references = [one.target for one in objective]
    for one in objective:
        references.extend(value for value in one.bindings.values() if isinstance(value, Target))
    return list(dict.fromkeys(one.name for one in references if one is not None and one.name is not None))
