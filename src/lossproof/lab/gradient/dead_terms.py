"""Terms of a loss that change with the predictions and give them no gradient, beside others that do."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lossproof.lab.backends.base import Tensor
from lossproof.lab.blind import FEWEST, Point, quiet
from lossproof.lab.gradient.intent import Stops
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event, Operand
from lossproof.lab.localize.recorder import Recorder
from lossproof.lab.noise import differs
from lossproof.lab.predictions import float_leaves, look, moves, tensor_like, with_float_leaves
from lossproof.lab.slopes_inside import twin_of
from lossproof.lab.subject import LossSubject, ObjectiveSubject, Subject

Key = tuple[Any, int]
"""The place of a sum, and which of its two operands."""


@dataclass(frozen=True)
class DeadTerm:
    """An operand of a sum without a gradient."""

    event: Event
    term: str
    """Its text."""
    least: float
    most: float
    """Its smallest and largest mean over the points that were tried."""
    before: float
    after: float
    """The loss, and the loss with the term doubled."""
    change: float
    """By how much that changes the gradient for the predictions, at most; rounding."""
    points: int


def dead_term(lab: Lab, subject: Subject) -> DeadTerm | None:
    """The proof that a term does nothing in training; None where each has a gradient somewhere, or any is stopped on purpose.

    It has no gradient at any point that is tried, its value is another one there, and with other numbers in its place,
    doubled or at random, the loss has another value and the same gradient.
    """
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    if not leaves or not isinstance(subject, LossSubject | ObjectiveSubject):
        return None
    known = _operands(lab, subject, leaves) if _decides(lab, subject, leaves) else None
    dark = {key: event for key, event in known[0].items() if key not in known[1]} if known is not None else {}
    if not dark:
        return None
    values: dict[Key, list[np.ndarray]] = {key: [] for key in dark}
    points = [leaves, *(moved for _, moved in moves(lab, subject, leaves))]
    for point in points:
        operands, there = _operands(lab, subject, point), _values(lab, subject, point)
        if operands is None or there is None:
            continue
        for key in list(values):
            if key in operands[1]:
                del values[key]
            elif key in there:
                values[key].append(there[key])
    for key, found in values.items():
        means = [float(np.mean(one)) for one in found]
        if len(found) >= FEWEST and np.isfinite(means).all() and differs(min(means), max(means), terms=found[0].size):
            proof = lab.attempt(partial(_doubled, lab, subject, leaves, dark[key], key, means))
            if proof is not None:
                return proof  # type: ignore[no-any-return]
    return None


def _decides(lab: Lab, subject: Subject, leaves: list[np.ndarray]) -> bool:
    """Whether anything in the user's code is whole numbers, and others with other predictions: else nothing is dark.

    Cheaper than to differentiate, above all on JAX, which compiles each operation again for that. Where the user stops a
    gradient, nothing is said.
    """
    stops = Stops()
    with quiet(lab), stops.evaluation():
        if not np.isfinite(lab.value(subject)) or stops.kept or stops.unheld:
            return False
    _, moved = next(iter(moves(lab, subject, leaves)))
    whole = []
    for point in (leaves, moved):
        given = [tensor_like(lab, leaf, like) for leaf, like in zip(point, float_leaves(lab, subject), strict=True)]
        trace = lab.attempt(lambda: lab.trace(with_float_leaves(lab, subject, given)))  # noqa: B023 - called here
        if trace is None or trace.error is not None:
            return False
        values = [lab.number(event.value) for event in trace.events if lab.backend.is_tensor(event.value)]
        whole.append([one if one.dtype.kind in "biu" or (one == np.round(one)).all() else None for one in values])
    pairs = zip(*whole, strict=False)
    return any(a is not None and b is not None and not np.array_equal(a, b) for a, b in pairs)


def _operands(lab: Lab, subject: Subject, leaves: list[np.ndarray]) -> tuple[dict[Key, Event], set[Key]] | None:
    """Operands of sums without a derivative where the other one has one, and those with."""
    random = np.random.default_rng(0)
    given = [tensor_like(lab, leaf, like) for leaf, like in zip(leaves, float_leaves(lab, subject), strict=True)]
    directions = [
        tensor_like(lab, random.uniform(0.5, 1.5, size=leaf.shape), like)
        for leaf, like in zip(leaves, given, strict=True)
    ]

    def run(duals: list[Tensor], derivative: Any) -> tuple[dict[Key, Event], set[Key]]:
        def moves_with(value: Any) -> bool:
            found = derivative(value)
            return found is not None and bool(np.any(found != 0))

        trace = lab.trace(with_float_leaves(lab, subject, duals))
        found: dict[Key, Event] = {}
        alive: set[Key] = set()
        for event in trace.events:
            if _sign(event) is None or not all(lab.backend.is_tensor(one.value) for one in event.operands):
                continue
            connected = [moves_with(one.value) for one in event.operands]
            for i in (0, 1):
                key = (event.place, i)
                if connected == [i == 1, i == 0]:
                    found[key] = event
                elif connected[i]:
                    alive.add(key)
        return found, alive

    def experiment() -> tuple[dict[Key, Event], set[Key]]:
        with quiet(lab), lab.backend.lenient_conversions():
            return lab.backend.forward_mode(run, given, directions)  # type: ignore[no-any-return]

    return lab.attempt(experiment)  # type: ignore[no-any-return]


def _values(lab: Lab, subject: Subject, leaves: list[np.ndarray]) -> dict[Key, np.ndarray] | None:
    given = [tensor_like(lab, leaf, like) for leaf, like in zip(leaves, float_leaves(lab, subject), strict=True)]
    trace = lab.attempt(lambda: lab.trace(with_float_leaves(lab, subject, given)))
    if trace is None or trace.error is not None:
        return None
    found: dict[Key, np.ndarray] = {}
    for event in trace.events:
        for i, operand in enumerate(event.operands) if _sign(event) is not None else ():
            if lab.backend.is_tensor(operand.value):
                found[event.place, i] = lab.number(operand.value)
    return found


def _sign(event: Event) -> float | None:
    """Of the second operand of a sum: 1 or -1; None where it is no sum."""
    if event.kind != "binop" or len(event.operands) != 2 or event.place.expression is None:
        return None
    try:
        node = ast.parse(event.place.expression.strip(), mode="eval").body
    except SyntaxError:  # an expression of several lines, cut out of its brackets
        try:
            node = ast.parse(f"({event.place.expression})", mode="eval").body
        except SyntaxError:
            return None
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add | ast.Sub):
        return None
    return 1.0 if isinstance(node.op, ast.Add) else -1.0


def _doubled(
    lab: Lab, subject: Subject, leaves: list[np.ndarray], event: Event, key: Key, means: list[float]
) -> DeadTerm | None:
    place, position = key
    sign = 1.0 if position == 0 else _sign(event) or 1.0
    random = np.random.default_rng(1)

    def twice(operands: list[Tensor]) -> Tensor:
        return operands[position]

    there = _values(lab, subject, leaves) or {}
    reach = 10.0 * max(float(np.abs(there[place, i]).max(initial=0.0)) for i in (0, 1))

    def at_random(operands: list[Tensor]) -> Tensor:
        return tensor_like(lab, random.uniform(-reach, reach, size=tuple(operands[position].shape)), operands[position])

    def at(more: Callable[[list[Tensor]], Tensor] | None) -> Point:
        def instead(met: Event, value: Any) -> Any:
            if more is None or met.place != place:
                return value
            return value + sign * more([one.value for one in met.operands])

        owner, name = (
            (subject.loss, "fn" if hasattr(subject.loss, "fn") else "call")
            if isinstance(subject, LossSubject)
            else (lab.capture.model, "compute_loss")
        )
        interpreted = lab.backend.interpreted() if lab.backend.name == "jax" else nullcontext()
        with twin_of(owner, name, Recorder(instead=instead)), interpreted:
            return look(lab, subject, leaves)

    as_written, doubled, *others = at(None), at(twice), at(at_random), at(at_random)
    if as_written.dark or not differs(as_written.value, doubled.value, terms=leaves[0].size):
        return None
    changes = [_apart(as_written, other) for other in (doubled, *others)]
    if not max(changes) <= 1e-6:
        return None
    operand: Operand = event.operands[position]
    return DeadTerm(
        event, operand.expression, min(means), max(means), as_written.value, doubled.value, max(changes), len(means)
    )


def _apart(one: Point, other: Point) -> float:
    """How far two gradients are apart, against the largest entry; infinite where one is missing."""
    pairs = list(zip(one.gradients, other.gradients, strict=True))
    if any(a is None or b is None for a, b in pairs):
        return np.inf
    size = max(float(np.abs(a).max(initial=0.0)) for a, _ in pairs if a is not None)
    return max(float(np.abs(a - b).max(initial=0.0)) for a, b in pairs if a is not None and b is not None) / size
