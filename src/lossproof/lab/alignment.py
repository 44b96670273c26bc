"""Inputs of an objective whose rank differs from the predictions' by a last axis of one, and the same, aligned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from lossproof.lab.lab import Lab
from lossproof.lab.localize.batches import BatchAxes, compare_batches
from lossproof.lab.localize.events import Event, Trace
from lossproof.lab.localize.queries import first_broadcast
from lossproof.lab.localize.shapes import shape_of
from lossproof.lab.subject import Subject, take


@dataclass(frozen=True)
class Alignment:
    """A subject, and the same one with one tensor's last axis of 1 added or taken away."""

    subject: Subject
    aligned: Subject
    field: str
    """`y_true` or `sample_weight`."""
    leaf: int
    name: str
    plural: str
    shape: tuple[int, ...]
    partner: str
    partner_shape: tuple[int, ...]
    cure: str


def alignments(subject: Subject) -> Iterator[Alignment]:
    """Each target or weight of shape (B,) beside a tensor of shape (B, 1), or the other way round."""
    size = subject.batch_size
    if size < 2:
        return
    partners = _partners(subject)
    for field, plural in (("y_true", "targets"), ("sample_weight", "weights")):
        if field == "sample_weight" and subject.kind == "loss":
            continue  # Keras applies them itself, and aligns them
        data = getattr(subject, field)
        leaves = keras.tree.flatten(data)
        for i, leaf in enumerate(leaves):
            shape = tuple(getattr(leaf, "shape", ()))
            for partner, other in partners:
                if {shape, other} != {(size,), (size, 1)}:
                    continue
                changed = [*leaves[:i], _turned(leaf, shape), *leaves[i + 1 :]]
                name = field if len(leaves) == 1 else f"{field}[{i}]"
                variable = {"y_true": "y", "sample_weight": "sample_weight"}[field]
                yield Alignment(
                    subject=subject,
                    aligned=replace(subject, **{field: keras.tree.pack_sequence_as(data, changed)}),
                    field=field,
                    leaf=i,
                    name=name,
                    plural=plural,
                    shape=shape,
                    partner=partner,
                    partner_shape=other,
                    cure=f"{variable} = {variable}[:, None]   # (N, 1)"
                    if len(shape) == 1
                    else f"{variable} = {variable}[:, 0]   # (N,)",
                )
                break


def moved_into_range(alignment: Alignment) -> Alignment | None:
    """The same with predictions in the range of the targets: the targets themselves, dealt to other rows.

    An untrained model predicts far below or above all targets, where many losses are linear; there the mean over all
    pairs is the mean over the rows, and what training will meet does not show yet.
    """
    subject = alignment.subject
    y_true, y_pred = subject.y_true, subject.y_pred
    if alignment.field != "y_true" or not hasattr(y_pred, "shape") or not hasattr(y_true, "shape"):
        return None
    rows = np.roll(np.arange(subject.batch_size), subject.batch_size // 3 + 1)
    moved = keras.ops.cast(keras.ops.reshape(take(y_true, rows), y_pred.shape), y_pred.dtype)
    return replace(alignment, subject=subject.changed(y_pred=moved), aligned=alignment.aligned.changed(y_pred=moved))


def _partners(subject: Subject) -> list[tuple[str, tuple[int, ...]]]:
    """The tensors beside which a target stands: predictions; a custom step makes its own, of either rank."""
    size = subject.batch_size
    if subject.y_pred is None:
        return [("the predictions", (size, 1)), ("the predictions", (size,))]
    leaves = keras.tree.flatten(subject.y_pred)
    name = "y_pred" if len(leaves) == 1 else "y_pred[{}]"
    return [(name.format(i), tuple(leaf.shape)) for i, leaf in enumerate(leaves)]


def _turned(leaf: Any, shape: tuple[int, ...]) -> Any:
    return keras.ops.expand_dims(leaf, -1) if len(shape) == 1 else keras.ops.squeeze(leaf, -1)


def dealt(lab: Lab, alignment: Alignment, column: str) -> float | None:
    """The value with the tensor's rows dealt to other rows: to the rows of the opposite order of size, mostly."""
    subject = alignment.subject if column == "as written" else alignment.aligned
    data = getattr(subject, alignment.field)
    leaves = keras.tree.flatten(data)
    leaf = leaves[alignment.leaf]
    order = np.argsort(lab.number(leaf).reshape(-1), kind="stable")
    opposite = np.empty_like(order)
    opposite[order] = order[::-1]
    leaves[alignment.leaf] = take(leaf, opposite)
    moved = replace(subject, **{alignment.field: keras.tree.pack_sequence_as(data, leaves)})
    value: float | None = lab.attempt(lambda: lab.value(moved))
    return value


def perfect(lab: Lab, alignment: Alignment) -> tuple[float, float] | None:
    """Both values with predictions equal to the targets; None where they cannot be."""
    subject, aligned = alignment.subject, alignment.aligned
    if alignment.field != "y_true" or not hasattr(subject.y_pred, "shape") or not hasattr(subject.y_true, "shape"):
        return None
    target = keras.ops.cast(keras.ops.reshape(subject.y_true, subject.y_pred.shape), subject.y_pred.dtype)
    values = [lab.attempt(partial(lab.value, one.changed(y_pred=target))) for one in (subject, aligned)]
    return None if None in values else (values[0], values[1])


def batch_broadcast(lab: Lab, subject: Subject) -> Event | None:
    """The first expression of the user's code in which two batch axes meet; None if there is none to be seen."""
    return first_broadcast(*_traced_twice(lab, subject))


def batch_reduction(lab: Lab, subject: Subject) -> Event | None:
    """The first expression of the user's code that has no batch axis though an operand has one."""
    trace, axes = _traced_twice(lab, subject)
    for event in trace.events:
        value, operands = axes.of(event)
        if (
            event.kind in ("call", "binop")
            and value == 0
            and shape_of(event.value) is not None
            and max(operands, default=0)
        ):
            return event
    return None


def _traced_twice(lab: Lab, subject: Subject) -> tuple[Trace, BatchAxes]:
    """The trace of a subject, and which axes follow the batch, by a second batch of another size."""
    size = subject.batch_size
    smaller = subject.rows(np.arange(size - 1)) if size > 2 else subject.rows(np.tile(np.arange(size), 2)[: size + 1])
    trace, other = lab.trace(subject), lab.trace(smaller)
    return trace, compare_batches(trace, other)
