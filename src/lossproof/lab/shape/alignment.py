"""Targets and weights with one number per row, as (B,) or as (B, 1); and the same objective with the other rank."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import keras
import numpy as np

from lossproof.findings.finding import Place
from lossproof.lab.lab import Lab
from lossproof.lab.localize.batches import BatchAxes, compare_batches
from lossproof.lab.localize.events import Event, Trace
from lossproof.lab.localize.queries import broadcasts
from lossproof.lab.localize.shapes import shape_of, tensors
from lossproof.lab.noise import differs
from lossproof.lab.subject import LossSubject, Subject, take

MOST_TURNED = 4
"""Tensors of one number per row that are turned together; with more, each is still turned alone."""


@dataclass(frozen=True)
class Alignment:
    """A subject, and the same one with a last axis of 1 added to some of its tensors, or taken away.

    `name`, `shape` and `partner` are those of the first tensor that is turned.
    """

    subject: Subject
    aligned: Subject
    field: str
    """`y_true` or `sample_weight`."""
    leaf: int
    name: str
    plural: str
    shape: tuple[int, ...]
    """As the user's function receives it."""
    turned: tuple[int, ...]
    """The shape that it gets instead."""
    partner: str
    partner_shape: tuple[int, ...]
    given: bool
    """Whether the user passed it in this shape, so that it can be turned where the data are made."""


def alignments(lab: Lab, subject: Subject) -> tuple[Alignment, ...]:
    """Each target or weight turned alone, then several of them together."""
    return tuple(_alignments(lab, subject))


def _alignments(lab: Lab, subject: Subject) -> Iterator[Alignment]:
    if subject.batch_size < 2:
        return
    single = list(_single(lab, subject))
    yield from single
    for count in range(2, len(single) + 1 if len(single) <= MOST_TURNED else 0):
        for chosen in combinations(single, count):
            if len({(one.field, one.leaf) for one in chosen}) == count:
                together = subject
                for one in chosen:
                    together = _turn(together, one.field, one.leaf, one.shape)
                yield replace(chosen[0], aligned=together)


def _single(lab: Lab, subject: Subject) -> Iterator[Alignment]:
    size = subject.batch_size
    for field, plural in (("y_true", "targets"), ("sample_weight", "weights")):
        if field == "sample_weight" and subject.kind == "loss":
            continue  # Keras applies them itself, and aligns them
        given = keras.tree.flatten(getattr(subject, field))
        if not any(shape_of(leaf) in ((size,), (size, 1)) for leaf in given):
            continue
        arriving = given
        if field == "y_true" and isinstance(subject, LossSubject):
            arriving = lab.attempt(lambda: keras.tree.flatten(subject.traceable()[1][0]))
        if arriving is None or len(arriving) != len(given):
            continue
        for i, (leaf, passed) in enumerate(zip(arriving, given, strict=True)):
            shape = shape_of(leaf)
            if shape is None or shape not in ((size,), (size, 1)):
                continue
            partner, partner_shape = _partner(subject, shape)
            yield Alignment(
                subject=subject,
                aligned=_turn(subject, field, i, shape),
                field=field,
                leaf=i,
                name=field if len(given) == 1 else f"{field}[{i}]",
                plural=plural,
                shape=shape,
                turned=(size, 1) if len(shape) == 1 else (size,),
                partner=partner,
                partner_shape=partner_shape,
                given=shape_of(passed) == shape,
            )


def _turn(subject: Subject, field: str, leaf: int, shape: tuple[int, ...]) -> Subject:
    if field == "y_true" and isinstance(subject, LossSubject):
        # Keras aligns the ranks on the way into a function: it is turned where the function receives it.
        return replace(subject, arriving=(*subject.arriving, partial(_turned_leaf, leaf=leaf, shape=shape)))
    return replace(subject, **{field: _turned_leaf(getattr(subject, field), leaf=leaf, shape=shape)})


def _turned_leaf(data: Any, leaf: int, shape: tuple[int, ...]) -> Any:
    leaves = keras.tree.flatten(data)
    one = leaves[leaf]
    leaves[leaf] = keras.ops.expand_dims(one, -1) if len(shape) == 1 else keras.ops.squeeze(one, -1)
    return keras.tree.pack_sequence_as(data, leaves)


def _partner(subject: Subject, shape: tuple[int, ...]) -> tuple[str, tuple[Any, ...]]:
    """The predictions beside which a tensor stands; a custom step makes its own, of the other rank."""
    size = subject.batch_size
    leaves = keras.tree.flatten(subject.y_pred)
    if subject.y_pred is None or not leaves:
        return "the predictions", (size, 1) if len(shape) == 1 else (size,)
    shapes = [shape_of(leaf) or () for leaf in leaves]
    i = next((i for i, one in enumerate(shapes) if one != shape), 0)
    return "y_pred" if len(leaves) == 1 else f"y_pred[{i}]", shapes[i]


def moved_into_range(alignment: Alignment) -> Alignment | None:
    """The same with predictions in the range of the targets: the targets themselves, dealt to other rows.

    An untrained model predicts far below or above all targets, where many losses are linear; there the mean over all
    pairs is the mean over the rows, and what training will meet does not show yet.
    """
    subject = alignment.subject
    moved = None if alignment.field != "y_true" else onto_targets(subject, subject.batch_size // 3 + 1)
    if moved is None:
        return None
    return replace(alignment, subject=subject.changed(y_pred=moved), aligned=alignment.aligned.changed(y_pred=moved))


def onto_targets(subject: Subject, shift: int) -> Any:
    """Predictions equal to the targets of the rows `shift` before; None where they have another form."""
    y_true, y_pred = subject.y_true, subject.y_pred
    if shape_of(y_pred) is None or shape_of(y_true) is None or np.prod(y_true.shape) != np.prod(y_pred.shape):
        return None
    rows = np.roll(np.arange(subject.batch_size), shift)
    return keras.ops.cast(keras.ops.reshape(take(y_true, rows), y_pred.shape), y_pred.dtype)


def dealt(lab: Lab, alignment: Alignment, subject: Subject) -> float | None:
    """The value of a subject with the tensor's rows dealt to other rows."""
    value: float | None = lab.attempt(lambda: lab.value(_dealt(lab, alignment, subject)))
    return value


def _dealt(lab: Lab, alignment: Alignment, subject: Subject) -> Subject:
    """To the rows of the opposite order of size, mostly."""
    data = getattr(subject, alignment.field)
    leaves = keras.tree.flatten(data)
    leaf = leaves[alignment.leaf]
    order = np.argsort(lab.number(leaf).reshape(-1), kind="stable")
    opposite = np.empty_like(order)
    opposite[order] = order[::-1]
    leaves[alignment.leaf] = take(leaf, opposite)
    return replace(subject, **{alignment.field: keras.tree.pack_sequence_as(data, leaves)})


def perfect(lab: Lab, alignment: Alignment) -> tuple[float, float] | None:
    """Both values with perfect predictions; None where it is not known which those are."""
    target = None if alignment.field != "y_true" else perfect_prediction(lab, alignment.subject)
    return None if target is None else _both(lab, alignment, target)


def _both(lab: Lab, alignment: Alignment, y_pred: Any) -> tuple[float, float] | None:
    both = (alignment.subject, alignment.aligned)
    values = [lab.attempt(partial(lab.value, one.changed(y_pred=y_pred))) for one in both]
    return None if None in values else (values[0], values[1])


def perfect_prediction(lab: Lab, subject: Subject) -> Any:
    """The targets themselves; for class ids, nearly all of the probability on the class."""
    target = onto_targets(subject, 0)
    shape = shape_of(subject.y_pred)
    if target is not None or shape is None or len(shape) != 2 or shape_of(subject.y_true) is None:
        return target
    ids = lab.number(subject.y_true).reshape(-1)
    if len(ids) != shape[0] or not np.isin(ids, np.arange(shape[1] or 0)).all():
        return None
    classes = shape[1] or 1
    probabilities = 0.9 * np.eye(classes)[ids.astype(int)] + 0.1 / classes
    return lab.backend.tensor(probabilities, dtype=keras.backend.standardize_dtype(subject.y_pred.dtype))


def beaten_by_a_constant(lab: Lab, alignment: Alignment) -> bool | None:
    """Whether a model that predicts the same for all rows is as good as a perfect one, as written but not aligned.

    Over all pairs of rows, the loss of the perfect model is the mean of what each of its predictions costs if it is
    made for every row, so the best of them costs no more. A distance of distributions, which pairs all rows on purpose,
    is smallest for the perfect model.

    Returns:
        None where it is not known which predictions are perfect.
    """
    subject = alignment.subject
    target = None if alignment.field != "y_true" else perfect_prediction(lab, subject)
    best = None if target is None else _both(lab, alignment, target)
    if best is None:
        return None
    size = subject.batch_size
    for row in range(size):
        constant = _both(lab, alignment, take(target, np.full(size, row)))
        if constant is not None and (constant[0] <= best[0] or not differs(constant[0], best[0], terms=size * size)):
            return best[1] < constant[1]
    return False


@dataclass(frozen=True)
class Pairing:
    """What the user's code shows of pairs of rows."""

    event: Event | None
    """The first expression in which the turned tensor's batch axis meets another one by mistake."""
    seen: bool
    """Whether two batch axes meet anywhere."""


def pairing(lab: Lab, alignment: Alignment) -> Pairing:
    """Where the tensor's batch axis meets another one because the ranks differ, and only as long as they do.

    Left out is what happens with the tensor turned, too, since those pairs are made on purpose; and an expression both
    of whose sides come from the tensor, as in a comparison of labels with each other. Where turning the tensor makes
    new pairs, it is not what was meant.
    """
    written, aligned = meetings_of_rows(lab, alignment.subject), meetings_of_rows(lab, alignment.aligned)
    known = {_identity(event) for event in aligned}
    gone = [event for event in written if _identity(event) not in known and _of_unequal_rank(event)]
    if gone and not known - {_identity(event) for event in written}:
        other = lab.attempt(lambda: lab.trace(_dealt(lab, alignment, alignment.subject)))
        mistaken = (event for event in gone if other is not None and _one_sided(lab, event, other))
        return Pairing(next(mistaken, None), seen=True)
    return Pairing(None, seen=bool(written))


def rows_that_meet(lab: Lab, subject: Subject, order: np.ndarray) -> Event | None:
    """The first expression in which a batch axis made of the targets meets one that is not."""
    y_true = keras.tree.map_structure(lambda leaf: take(leaf, order), subject.y_true)
    other = lab.attempt(lambda: lab.trace(subject.changed(y_true=y_true)))
    if other is None:
        return None
    return next((event for event in meetings_of_rows(lab, subject) if _one_sided(lab, event, other)), None)


def _of_unequal_rank(event: Event) -> bool:
    """(B,) meets (B, 1); who writes (B, 1) beside (1, B) means all pairs."""
    return (
        len({len(shape) for operand in event.operands for shape in map(shape_of, tensors(operand.value)) if shape}) > 1
    )


def _one_sided(lab: Lab, event: Event, other: Trace) -> bool:
    """Whether some operands of an event follow the dealt tensor, and others that have a batch axis do not."""
    partner = next((one for one in other.events if _identity(one) == _identity(event)), None)
    if partner is None or len(partner.operands) != len(event.operands):
        return False
    moved = [
        not np.array_equal(lab.number(a.value), lab.number(b.value))
        for a, b in zip(event.operands, partner.operands, strict=True)
        if shape_of(a.value) and shape_of(b.value)
    ]
    return any(moved) and not all(moved)


def _identity(event: Event) -> object:
    return event.place, event.kind, event.depth


def meetings_of_rows(lab: Lab, subject: Subject) -> list[Event]:
    """The expressions of the user's code in which two batch axes meet."""
    size = subject.batch_size
    trace = lab.attempt(lambda: lab.trace(subject))
    if trace is None or not any((shape_of(t) or ()).count(size) > 1 for e in trace.events for t in tensors(e.value)):
        return []
    other = lab.attempt(lambda: lab.trace(_other_size(subject)))
    return [] if other is None else list(broadcasts(trace, compare_batches(trace, other)))


def place_of_reduction(lab: Lab, subject: Subject) -> Place | None:
    """The user's expression that gives up the batch axis; where the subject is defined, if none can be seen."""
    event = lab.attempt(lambda: batch_reduction(lab, subject))
    return lab.place_of_event(event) if event is not None else lab.place(subject)


def batch_reduction(lab: Lab, subject: Subject) -> Event | None:
    """The first expression of the user's code that has no batch axis though an operand has one."""
    trace, axes = _traced_twice(lab, subject)
    for event in trace.events:
        value, operands = axes.of(event)
        computed = event.kind in ("call", "binop") and shape_of(event.value) is not None
        if computed and value == 0 and max(operands, default=0):
            return event
    return None


def _traced_twice(lab: Lab, subject: Subject) -> tuple[Trace, BatchAxes]:
    """The trace of a subject, and which axes follow the batch, by a second batch of another size."""
    trace, other = lab.trace(subject), lab.trace(_other_size(subject))
    return trace, compare_batches(trace, other)


def _other_size(subject: Subject) -> Subject:
    """The subject on one row less, or, of two rows, on one more."""
    size = subject.batch_size
    return subject.rows(np.arange(size - 1) if size > 2 else np.arange(3) % 2)
