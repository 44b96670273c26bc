"""Other ways to nest the targets that were given, each of which would give every trained output a target of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations, permutations
from typing import Any

import numpy as np

from lossproof.lab.backends import running_backend
from lossproof.lab.noise import differs
from lossproof.lab.wiring.compiled import CompiledObjective
from lossproof.lab.wiring.outputs import Output, as_numpy, fits

MOST_OUTPUTS = 6
"""Beyond, the orders are too many to try."""


@dataclass(frozen=True)
class Restructured:
    """Targets in another structure, and what has to change in `compile` with them."""

    change: str
    """Completes "the same with ..."."""
    fix: str
    y: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)


def fitting_orders(compiled: CompiledObjective) -> list[tuple[int, ...]]:
    """The orders in which each of the given arrays fits its output: for each output (flat) the position of its array."""
    outputs, leaves = compiled.outputs.items, compiled.given.leaves
    if not 1 < len(leaves) == len(outputs) <= MOST_OUTPUTS:
        return []
    fit = [[fits(leaf, output) for leaf in leaves] for output in outputs]
    orders = permutations(range(len(leaves)))
    return [order for order in orders if all(fit[i][j] for i, j in enumerate(order))]


def misused(compiled: CompiledObjective, total: float, position: int) -> bool:
    """Whether the loss of an output makes something of an array of another shape that cannot be meant.

    It takes numbers for class numbers: the total stays what it is when what stands behind the decimal point is cut off.
    Or it stretches the target, or the prediction; see `_stretched`.
    """
    output = compiled.outputs.items[position]
    target, prediction = as_numpy(compiled.given.leaves[position]), as_numpy(output.tensor)
    whole = np.trunc(target) if target.dtype.kind == "f" else target
    if not np.array_equal(target, whole) and _same_with(compiled, total, position, whole, prediction):
        return True
    if target.ndim == prediction.ndim - 1:
        target = target[..., None]
    return target.ndim == prediction.ndim and _stretched(compiled, total, position, target, prediction)


def _stretched(
    compiled: CompiledObjective, total: float, position: int, target: np.ndarray, prediction: np.ndarray
) -> bool:
    """Whether a loss compares every slice of one array with the only slice of the other.

    The total then stays what it is when the single slice is written out as often as the other array has slices, and
    when those are reversed; and it moves with each of them. A loss that gives its slices a meaning (a mean and a
    variance, several quantiles) fails one of these.
    """
    axes = [axis for axis in range(1, target.ndim) if target.shape[axis] != prediction.shape[axis]]
    if len(axes) != 1 or 1 not in (target.shape[axes[0]], prediction.shape[axes[0]]):
        return False
    axis = axes[0]
    count = max(target.shape[axis], prediction.shape[axis])
    many_targets = target.shape[axis] == count

    def slices(index: Any) -> tuple[np.ndarray, np.ndarray]:
        """The arrays with the slices of the longer one changed by `index`."""
        return (index(target), prediction) if many_targets else (target, index(prediction))

    def moved(i: int) -> tuple[np.ndarray, np.ndarray]:
        one = np.arange(count).reshape([-1 if k == axis else 1 for k in range(target.ndim)]) == i
        return slices(lambda array: array + one.astype(array.dtype))

    written_out = (
        (target, np.repeat(prediction, count, axis)) if many_targets else (np.repeat(target, count, axis), prediction)
    )
    same = partial(_same_with, compiled, total, position)
    return (
        same(*written_out)
        and same(*slices(lambda array: np.flip(array, axis).copy()))
        and not any(same(*moved(i)) for i in range(count))
    )


def _same_with(
    compiled: CompiledObjective, total: float, position: int, target: np.ndarray, prediction: np.ndarray
) -> bool:
    targets = list(compiled.given.leaves)
    predictions = [one.tensor for one in compiled.outputs.items]
    targets[position], predictions[position] = target, running_backend().tensor(prediction)
    try:
        wired = compiled.evaluate(batch=compiled.received(y=targets), y_pred=compiled.outputs.packed(predictions))
    except Exception:  # the user's loss was not written for these
        return False
    return not differs(wired.total, total, "float32", target.size)


def restructurings(compiled: CompiledObjective) -> Iterator[Restructured]:
    """Structures that Keras accepts, from the nearest to what was given to the furthest."""
    outputs, given = compiled.outputs, compiled.given
    if given.form == "nested":
        if len(given.leaves) == len(outputs.items):
            yield Restructured(
                "one array for each output, not nested further",
                "Pass one array for each output, in the structure of the outputs.",
                outputs.packed(given.leaves),
            )
        return
    if len(outputs.items) == 1:
        yield from _for_one_output(compiled)
    elif given.form == "one":
        yield from _from_one_array(compiled)
    elif len(given.leaves) == len(outputs.items) and given.form == "dict":
        yield Restructured(
            f"a list in the order {', '.join(map(repr, given.names))}",
            "The outputs come in a list without names: pass the targets as a list in their order, or return a dict of "
            "outputs from `call`.",
            outputs.packed([given.leaves[outputs.declared.index(i)] for i in range(len(outputs.items))]),
        )
    elif len(given.leaves) > len(outputs.items):
        yield from _from_too_many(compiled)
    else:
        yield from _from_too_few(compiled)


def _for_one_output(compiled: CompiledObjective) -> Iterator[Restructured]:
    output, given = compiled.outputs.items[0], compiled.given
    fitting = [i for i, leaf in enumerate(given.leaves) if fits(leaf, output)]
    named = [i for i, name in enumerate(given.names) if name is not None and name == output.name]
    chosen = named or ([0] if len(given.leaves) == 1 else fitting[:1])
    if given.form == "dict":
        for i in chosen:
            yield Restructured(
                f"the array of {given.names[i]!r} itself",
                "A single output takes the array itself. A dict of targets is for a model whose outputs are a dict.",
                given.leaves[i],
            )
        return
    joined = _joined(given.leaves)
    if joined is not None and fits(joined, output):
        yield Restructured(
            "the arrays side by side in one",
            "Put the targets side by side in one array: np.concatenate([...], axis=-1).",
            joined,
        )
    for i in chosen:
        yield Restructured(
            f"array {i + 1} alone",
            "Pass one array for the one output, or give the model an output for each array.",
            given.leaves[i],
        )


def _from_one_array(compiled: CompiledObjective) -> Iterator[Restructured]:
    outputs, target = compiled.outputs, compiled.given.leaves[0]
    widths = [one.shape[-1] if one.shape else 1 for one in outputs.as_declared]
    array = as_numpy(target)
    if array.ndim > 1 and array.shape[-1] == sum(widths):
        parts = np.split(array, np.cumsum(widths)[:-1], axis=-1)
        if all(part.shape == one.shape for part, one in zip(parts, outputs.as_declared, strict=True)):
            yield Restructured(
                "its columns given to the outputs in turn",
                "Split the columns: one array for each output.",
                outputs.packed(_flat(compiled, parts)),
            )
    if all(fits(target, one) for one in outputs.items):
        yield Restructured(
            "the same array for each output",
            "Pass one array of targets for each output.",
            outputs.packed([target] * len(outputs.items)),
        )
    for i, output in enumerate(outputs.items):
        if fits(target, output):
            yield _only(compiled, {i: target})


def _from_too_many(compiled: CompiledObjective) -> Iterator[Restructured]:
    outputs, given = compiled.outputs, compiled.given
    if given.form != "list":
        return
    count, declared = len(outputs.items), outputs.as_declared
    kept = [
        chosen
        for chosen in combinations(range(len(given.leaves)), count)
        if all(fits(given.leaves[j], one) for j, one in zip(chosen, declared, strict=True))
    ]
    for chosen in kept[:1]:
        extra = [f"array {j + 1}" for j in range(len(given.leaves)) if j not in chosen]
        yield Restructured(
            f"{', '.join(extra)} left out",
            "Pass exactly one array for each output.",
            outputs.packed(_flat(compiled, [given.leaves[j] for j in chosen])),
        )


def _from_too_few(compiled: CompiledObjective) -> Iterator[Restructured]:
    outputs, given = compiled.outputs, compiled.given
    if given.form == "dict":
        if set(given.names) <= set(outputs.names):
            chosen = {outputs.names.index(name): leaf for name, leaf in zip(given.names, given.leaves, strict=True)}
            yield _only(compiled, chosen)
        return
    fitting = [
        chosen
        for chosen in combinations(outputs.declared, len(given.leaves))
        if all(fits(leaf, outputs.items[i]) for i, leaf in zip(chosen, given.leaves, strict=True))
    ]
    for chosen_outputs in fitting[:1]:
        yield _only(compiled, dict(zip(chosen_outputs, given.leaves, strict=True)))


def _only(compiled: CompiledObjective, targets: Mapping[int, Any]) -> Restructured:
    """The objective of some outputs (flat positions) alone."""
    outputs, told = compiled.outputs, compiled.arguments
    called = [_called(outputs.items[i], i) for i in targets]
    others = [_called(one, i) for i, one in enumerate(outputs.items) if i not in targets]
    losses, weights = _by_output(compiled, told.loss), _by_output(compiled, told.loss_weights)
    loss: Any
    loss_weights: Any = None
    y: Any
    if outputs.form == "dict":
        loss = {outputs.names[i]: losses[i] for i in targets}
        y = {outputs.names[i]: target for i, target in targets.items()}
        if told.loss_weights is not None:
            loss_weights = {outputs.names[i]: weights[i] for i in targets}
    else:
        loss = [losses[i] if i in targets else None for i in range(len(outputs.items))]
        y = [targets[i] for i in sorted(targets)]
        if told.loss_weights is not None:
            loss_weights = [1.0 if weight is None else weight for weight in weights]
    return Restructured(
        f"{', '.join(called)} trained alone",
        f"Pass targets for {', '.join(others)}, too, or say by a loss of None that "
        f"{'it is' if len(others) == 1 else 'they are'} not to be trained.",
        y,
        {"loss": loss, "loss_weights": loss_weights},
    )


def _by_output(compiled: CompiledObjective, told: Any) -> list[Any]:
    """An argument of `compile` for each output, in the flat order."""
    outputs = compiled.outputs
    if isinstance(told, dict):
        return [told.get(name) for name in outputs.names]
    if isinstance(told, (list, tuple)):
        return [told[i] if i < len(told) else None for i in range(len(outputs.items))]
    return [told] * len(outputs.items)


def _flat(compiled: CompiledObjective, as_declared: Sequence[Any]) -> list[Any]:
    """Values in the order in which the outputs were declared, put into the flat order."""
    declared = compiled.outputs.declared
    return [as_declared[declared.index(i)] for i in range(len(declared))]


def _joined(leaves: Sequence[Any]) -> np.ndarray | None:
    columns = [array[:, None] if array.ndim == 1 else array for array in map(as_numpy, leaves)]
    if len({column.shape[:-1] for column in columns}) > 1:
        return None
    return np.concatenate(columns, axis=-1)


def _called(output: Output, position: int) -> str:
    return f"output {position + 1}" if output.name is None else f"output '{output.name}'"
