"""Decides which axes follow the batch, by tracing the same function with two batch sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lossproof.lab.localize.events import Event, Trace
from lossproof.lab.localize.shapes import shape_of, tensors


@dataclass(frozen=True, eq=False)
class BatchAxes:
    """How many axes of each event of a trace follow the batch."""

    unmatched: tuple[Event, ...]
    """Events without a counterpart in the other trace, such as the later rounds of a loop over the samples."""
    _counts: Mapping[Event, tuple[int, tuple[int, ...]]] = field(repr=False)

    def of(self, event: Event) -> tuple[int, tuple[int, ...]]:
        """The number of batch axes of an event's value and of each of its operands; none where it is unmatched."""
        return self._counts.get(event, (0, (0,) * len(event.operands)))


def compare_batches(trace: Trace, other: Trace) -> BatchAxes:
    """Which axes of `trace` follow the batch: those whose size differs in `other`, all else being equal.

    Args:
        trace: Of a function on a batch.
        other: Of the same function on a batch of another size, taken from the same data.
    """
    counterparts: dict[object, list[Event]] = defaultdict(list)
    for event in reversed(other.events):
        counterparts[_identity(event)].append(event)
    counts: dict[Event, tuple[int, tuple[int, ...]]] = {}
    unmatched = []
    for event in trace.events:
        same = counterparts[_identity(event)]
        if not same:
            unmatched.append(event)
            continue
        partner = same.pop()
        pairs = zip(event.operands, partner.operands, strict=False)
        operands = [_following(a.value, b.value) if a.expression == b.expression else 0 for a, b in pairs]
        operands += [0] * (len(event.operands) - len(operands))
        counts[event] = _following(event.value, partner.value), tuple(operands)
    return BatchAxes(tuple(unmatched), counts)


def _identity(event: Event) -> object:
    """What two evaluations of one expression, in the same depth of calls, share."""
    return event.place, event.kind, event.depth


def _following(a: Any, b: Any) -> int:
    """The largest number of axes in which tensors of two values differ; values of different structure have none."""
    pairs = [(shape_of(x) or (), shape_of(y) or ()) for x, y in zip(tensors(a), tensors(b), strict=False)]
    if len(tensors(a)) != len(tensors(b)):
        return 0
    return max((sum(m != n for m, n in zip(x, y, strict=True)) for x, y in pairs if len(x) == len(y)), default=0)
