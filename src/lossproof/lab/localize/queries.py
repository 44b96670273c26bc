"""Questions to a trace: where two axes pair up, where a NaN is born, where the gradient dies. Free of any backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lossproof.findings.finding import Label
from lossproof.lab.localize.batches import BatchAxes
from lossproof.lab.localize.events import Event, Trace
from lossproof.lab.localize.shapes import leaves, shape_of, shape_text, tensors


def first_broadcast(trace: Trace, batch: int | BatchAxes) -> Event | None:
    """The first event whose value has at least two batch axes, though none of its operands has, and one has one.

    So `y_true (B,) - y_pred (B, 1)`, which is (B, B), is found there, and what is handed in as (B, B) is not found.

    Args:
        trace: Of a loss.
        batch: The size of the batch, at least 2; each axis of that size then counts as a batch axis. By chance another
            axis may have that size: `compare_batches` decides by a second batch size.

    Raises:
        ValueError: If the batch has fewer than two samples, which no axis can be told by.
    """
    return next(broadcasts(trace, batch), None)


def broadcasts(trace: Trace, batch: int | BatchAxes) -> Iterator[Event]:
    """The events, in order, of which `first_broadcast` is the first."""
    if isinstance(batch, int) and batch < 2:
        raise ValueError(f"a batch of {batch} cannot be told from a broadcast axis, take at least 2 samples")
    for event in trace.events:
        if isinstance(batch, BatchAxes):
            value, operands = batch.of(event)
        else:
            value = _axes_of_size(event.value, batch)
            operands = tuple(_axes_of_size(operand.value, batch) for operand in event.operands)
        if value >= 2 and max(operands, default=0) == 1:
            yield event


def first_nonfinite(trace: Trace, to_numpy: Callable[[Any], Any], *, nan_only: bool = False) -> Event | None:
    """The first event whose value has a NaN or Inf while its operands are finite. See `births_of_nonfinite`."""
    return next(births_of_nonfinite(trace, to_numpy, nan_only=nan_only), None)


def births_of_nonfinite(trace: Trace, to_numpy: Callable[[Any], Any], *, nan_only: bool = False) -> Iterator[Event]:
    """The events whose value has a NaN or Inf while their operands are finite, in order.

    An event without operands that hold numbers (a name, an attribute) brought the value in from outside.

    Args:
        trace: Of a loss.
        to_numpy: Gives a tensor as an array. What it cannot convert, and raises for, counts as finite.
        nan_only: Look for the birth of NaNs alone: an Inf, which a mask may well hold, counts as finite.
    """
    known: dict[int, tuple[Any, bool]] = {}  # the values stand there to keep their identities theirs

    def bad(value: Any) -> set[int]:
        found = set()
        for leaf in leaves(value):
            if id(leaf) not in known:
                known[id(leaf)] = leaf, _nonfinite(leaf, to_numpy, nan_only)
            if known[id(leaf)][1]:
                found.add(id(leaf))
        return found

    old: set[int] = set()
    for event in trace.events:
        new = bad(event.value) - old  # a variable that is read again has the value of before
        if new and not any(bad(operand.value) for operand in event.operands):
            yield event
        old |= new


def last_differentiable(trace: Trace, depends: Callable[[Any], bool]) -> Event | None:
    """The first event whose value autodiff no longer connects to the predictions, though an operand still was.

    None where the result is connected. Many expressions lose the connection and do no harm, such as a mask
    `y_pred > 0` or `y_pred.shape`. So the events that the result was computed from, which are followed back from the
    result by the identity of the tensors, go before all others.

    Args:
        trace: Of a loss, with values kept as they are.
        depends: Whether autodiff connects a tensor (or number) to the predictions.
    """
    known: dict[int, tuple[Any, bool]] = {}

    def connected(value: Any) -> bool:
        for leaf in leaves(value):
            if id(leaf) not in known:
                known[id(leaf)] = leaf, depends(leaf)
            if known[id(leaf)][1]:
                return True
        return False

    if trace.error is None and connected(trace.result):
        return None
    lost = [
        event
        for event in trace.events
        if event.value is not None and not connected(event.value) and any(connected(o.value) for o in event.operands)
    ]
    behind = _behind_result(trace)
    # Small integers, such as sizes, share their identity with others, so what is real comes first.
    return min(lost, key=lambda event: (event not in behind, not _is_real(event.value)), default=None)


def labels_for(event: Event) -> tuple[Label, ...]:
    """Labels for the event's source line: under each operand its shape, and around them all the shape they give.

    Operands on other lines, and those without a shape, are left out.
    """
    place = event.place
    labels = []
    for operand in event.operands:
        text = shape_text(operand.value)
        if text is not None and operand.line == place.line:
            labels.append(Label(operand.column, operand.end_column, text))
    text = shape_text(event.value)
    if text is not None and place.column is not None and place.end_column is not None:
        labels.append(Label(place.column, place.end_column, f"gives {text}"))
    return tuple(labels)


def _axes_of_size(value: Any, size: int) -> int:
    """The largest number of axes of that size that a tensor in the value has."""
    return max(((shape_of(tensor) or ()).count(size) for tensor in tensors(value)), default=0)


def _nonfinite(leaf: Any, to_numpy: Callable[[Any], Any], nan_only: bool) -> bool:
    if shape_of(leaf) is None and not isinstance(leaf, float | complex):
        return False
    try:
        array = np.asarray(leaf if isinstance(leaf, float | complex) else to_numpy(leaf))
        return bool(np.isnan(array).any() if nan_only else not np.isfinite(array).all())
    except Exception:  #  symbolic, or of a dtype that cannot be NaN, such as strings
        return False


def _is_real(value: Any) -> bool:
    """Whether a value can carry a derivative: a tensor, or a number that is not whole."""
    return any(shape_of(leaf) is not None or isinstance(leaf, float | complex) for leaf in leaves(value))


def _behind_result(trace: Trace) -> set[Event]:
    """The events that the result was computed from, as far as the identity of values tells."""
    origin: dict[int, Event] = {}
    for event in trace.events:
        if event.kind != "name":
            for leaf in leaves(event.value):
                origin.setdefault(id(leaf), event)
    start = [origin[id(leaf)] for leaf in leaves(trace.result) if id(leaf) in origin]
    behind: set[Event] = set()
    # What Loss.__call__ makes of the user's value is unseen: the last expression evaluated is then nearest to it.
    waiting = start or list(trace.events[-1:])
    while waiting:
        event = waiting.pop()
        if event not in behind:
            behind.add(event)
            held = [leaf for operand in event.operands for leaf in leaves(operand.value)]
            waiting += [origin[id(leaf)] for leaf in held if id(leaf) in origin]
    return behind
