"""Terms of a loss that change with the predictions and give them no gradient, beside others that do."""

from __future__ import annotations

from collections.abc import Callable
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
from lossproof.lab.predictions import float_leaves, look, moves, tensor_like, with_float_leaves, with_predictions
from lossproof.lab.slopes_inside import recorded
from lossproof.lab.subject import LossSubject, ObjectiveSubject, Subject

SAME = 1e-6
"""By how much a gradient may differ from another that was computed in the same way, against its largest entry."""


@dataclass(frozen=True)
class DeadTerm:
    """An operand without a gradient, beside one that has one."""

    event: Event
    """The expression of both."""
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


Place = tuple[str, int, int, str]
"""File, line, column and text of an expression."""


def dead_term(lab: Lab, subject: Subject) -> DeadTerm | None:
    """The proof that a term does nothing in training; None where each has a gradient somewhere, or any is stopped on purpose.

    With other numbers in its place, doubled or at random, the loss has another value and the same gradient. It has no
    gradient at any point that is tried, and its value is another one there.
    """
    leaves = [lab.number(leaf) for leaf in float_leaves(lab, subject)]
    if not leaves or not isinstance(subject, LossSubject | ObjectiveSubject):
        return None
    known = _operands(lab, subject, leaves) if _decides(lab, subject, leaves) else None
    if known is None:
        return None
    for place, event in known[0].items():
        if place in known[1]:
            continue
        effect = lab.attempt(partial(_effect, lab, subject, leaves, place, event))
        values = _elsewhere(lab, subject, leaves, place) if effect is not None else None
        if effect is None or values is None:
            continue
        means = [float(np.mean(one)) for one in values]
        if len(means) >= FEWEST and np.isfinite(means).all() and differs(min(means), max(means), terms=values[0].size):
            before, after, change = effect
            return DeadTerm(event, place[-1], min(means), max(means), before, after, change, len(means))
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
        events = _events(lab, subject, point)
        if events is None:
            return False
        values = [lab.number(event.value) for event in events if lab.backend.is_tensor(event.value)]
        whole.append([one if one.dtype.kind in "biu" or (one == np.round(one)).all() else None for one in values])
    pairs = zip(*whole, strict=False)
    return any(a is not None and b is not None and not np.array_equal(a, b) for a, b in pairs)


def _events(lab: Lab, subject: Subject, leaves: list[np.ndarray]) -> tuple[Event, ...] | None:
    """What the user's code evaluates at some predictions; None where it fails there."""
    trace = lab.attempt(lambda: lab.trace(with_predictions(lab, subject, leaves)))
    return None if trace is None or trace.error is not None else trace.events


def _place(event: Event, operand: Operand | None = None) -> Place:
    """Of an event, or of one of its operands, which is an event itself."""
    at = event.place if operand is None else operand
    return event.place.file, at.line, at.column or 0, at.expression or ""


def _operands(lab: Lab, subject: Subject, leaves: list[np.ndarray]) -> tuple[dict[Place, Event], set[Place]] | None:
    """Operands without a derivative where the other one has one, each with the event of both; and those with."""
    random = np.random.default_rng(0)
    given = float_leaves(lab, with_predictions(lab, subject, leaves))
    directions = [tensor_like(lab, random.uniform(0.5, 1.5, size=tuple(leaf.shape)), leaf) for leaf in given]

    def run(duals: list[Tensor], derivative: Any) -> tuple[dict[Place, Event], set[Place]]:
        def moves_with(value: Any) -> bool:
            found = derivative(value)
            return found is not None and bool(np.any(found != 0))

        dark: dict[Place, Event] = {}
        alive: set[Place] = set()
        for event in lab.trace(with_float_leaves(lab, subject, duals)).events:
            if event.kind != "binop" or not all(lab.backend.is_tensor(one.value) for one in event.operands):
                continue
            connected = [moves_with(one.value) for one in event.operands]
            for operand, moved in zip(event.operands, connected, strict=True):
                if moved:
                    alive.add(_place(event, operand))
                elif any(connected):
                    dark[_place(event, operand)] = event
        return dark, alive

    def experiment() -> tuple[dict[Place, Event], set[Place]]:
        with quiet(lab), lab.backend.lenient_conversions():
            return lab.backend.forward_mode(run, given, directions)  # type: ignore[no-any-return]

    return lab.attempt(experiment)  # type: ignore[no-any-return]


def _elsewhere(lab: Lab, subject: Subject, leaves: list[np.ndarray], place: Place) -> list[np.ndarray] | None:
    """The values of a term at all points; None where it has a gradient at one of them."""
    values = []
    for point in (leaves, *(moved for _, moved in moves(lab, subject, leaves))):
        operands, events = _operands(lab, subject, point), _events(lab, subject, point)
        if operands is None or events is None:
            continue
        if place in operands[1]:
            return None
        values += [lab.number(one.value) for one in events if _place(one) == place][-1:]
    return values


def _effect(
    lab: Lab,
    subject: LossSubject | ObjectiveSubject,
    leaves: list[np.ndarray],
    place: Place,
    event: Event,
) -> tuple[float, float, float] | None:
    """The loss, the loss with a term doubled, and how far the gradient moves at most; None where that is not nought."""
    events = _events(lab, subject, leaves) or ()
    sizes = [
        float(np.abs(lab.number(one.value)).max(initial=0.0))
        for met in events
        if met.place == event.place
        for one in met.operands
    ]
    reach, random = 10.0 * max(sizes), np.random.default_rng(1)

    def twice(value: Tensor) -> Tensor:
        return value + value

    def at_random(value: Tensor) -> Tensor:
        return value + tensor_like(lab, random.uniform(-reach, reach, size=tuple(value.shape)), value)

    def at(other: Callable[[Tensor], Tensor]) -> Point:
        def instead(met: Event, value: Any) -> Any:
            return other(value) if _place(met) == place else value

        with recorded(lab, subject, Recorder(instead=instead)), lab.backend.interpreted():
            return look(lab, subject, leaves)

    as_written, doubled = at(lambda value: value), at(twice)
    if as_written.dark or not differs(as_written.value, doubled.value, terms=leaves[0].size):
        return None
    change = 0.0
    for other in (doubled, at(at_random), at(at_random)):
        change = max(change, _apart(as_written, other))
        if not change <= SAME:
            return None
    return as_written.value, doubled.value, change


def _apart(one: Point, other: Point) -> float:
    """How far two gradients are apart, against the largest entry; infinite where one is missing."""
    pairs = list(zip(one.gradients, other.gradients, strict=True))
    if any(a is None or b is None for a, b in pairs):
        return np.inf
    size = max(float(np.abs(a).max(initial=0.0)) for a, _ in pairs if a is not None)
    return max(float(np.abs(a - b).max(initial=0.0)) for a, b in pairs if a is not None and b is not None) / size
