"""The account of a captured objective on its batch: every part with its weight, and what they leave over.

How much a part weighs in a `compute_loss` of the user's own is measured, not read: it is the derivative of the total with
respect to what the loss returned, which autodiff gives exactly (or, through a whole `train_step`, a finite difference).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lossproof import keras_private
from lossproof.capture.batch import count_rows
from lossproof.lab.evaluation import evaluate
from lossproof.lab.lab import Lab
from lossproof.lab.listen import Heard, listening
from lossproof.lab.model import Forward
from lossproof.lab.noise import rounding
from lossproof.lab.step import rerun_step
from lossproof.lab.subject import LossSubject
from lossproof.lab.subjects import loss_subject
from lossproof.lab.wiring.added_losses import scaled_losses, totals_with_added_losses
from lossproof.ledger.entry import TOLERANCE, Entry, PenaltyEntry, TermEntry, unique
from lossproof.ledger.penalties import Penalty, heard_adding, penalties_of, rest_of
from lossproof.ledger.reduction import chain_of
from lossproof.objective.trainer import Trainer
from lossproof.rules.rule import NotApplicable


@dataclass(frozen=True)
class _Ran:
    total: float
    heard: tuple[Heard, ...]
    penalties: tuple[Penalty, ...]
    added: tuple[float, ...]
    rest: tuple[Penalty, float] | None
    """What a strategy adds beside the terms."""


def account(lab: Lab, training: bool = True) -> Entry:
    """The account of the captured batch at the captured weights.

    Args:
        lab: The laboratory.
        training: In training mode, or as `evaluate` runs the model.

    Raises:
        NotApplicable: The objective cannot be evaluated.
        Exception: Whatever the user's code raises.
    """
    _ = lab.batch, lab.model.state  # read before random numbers are fixed: loaders of data draw some
    ran = _run(lab, training)
    entries = _compiled_entries(lab, ran.heard)
    subjects = [
        loss_subject(heard, entry[3] if entry else None, entry[2] if entry else None)
        for heard, entry in zip(ran.heard, entries, strict=True)
    ]
    values = [float(np.sum(lab.number(heard.result))) for heard in ran.heard]
    own = _own(lab, training)
    known = [1.0 if subject.weight is None else subject.weight for subject in subjects]
    weights, counted = known, 1.0
    if own is not None or not _adds_up(ran, values, known):  # Keras drops all but one of several losses on one output
        weights, counted = _measured(lab, ran, training, known)
    several = sum(entry is not None for entry in entries) > 1
    model = lab.capture.model
    words = [entry[3] if several and entry else one.name for entry, one in zip(entries, subjects, strict=True)]
    names = term_names(model, words)
    terms = tuple(
        _term(lab, subject, name, value, weight, entry is not None and several)
        for subject, name, value, weight, entry in zip(subjects, names, values, weights, entries, strict=True)
    )
    penalties = tuple(
        PenaltyEntry(one.name, one.kind, one.layer, one.what, value, counted, counted * value)
        for one, value in zip(ran.penalties, ran.added, strict=True)
    )
    if ran.rest is not None:
        one, value = ran.rest
        penalties += (PenaltyEntry(one.name, one.kind, one.layer, one.what, value, 1.0, value),)
    explained = sum(one.contribution for one in terms) + sum(one.contribution for one in penalties)
    entry = Entry(
        terms=terms,
        penalties=penalties,
        total=ran.total,
        residual=ran.total - explained,
        training=training,
        rows=count_rows(lab.batch.x),
    )
    return entry if entry.closes else _with_cause(lab, entry, own)


def account_total(lab: Lab) -> float:
    """The total in training mode, without an account."""
    with lab.model.scope():
        return float(np.sum(lab.number(lab.model.compute_loss(lab.batch, lab.model.forward(lab.batch.x)))))


def term_names(model: Any, words: Sequence[str]) -> list[str]:
    """What the losses of an account are called: as the terms of a `lossproof.Trainer`, which calls one for each in their
    order; else in words, each once."""
    known = model.objective.names if isinstance(model, Trainer) else ()
    return list(known) if len(known) == len(words) else unique(list(words))


# Running it -------------------------------------------------------------------------------------------------------


def _own(lab: Lab, training: bool) -> str | None:
    """The method of the user's that makes the total, if Keras's own does not."""
    name = type(lab.capture.model).__name__
    if lab.overrides("train_step" if training else "test_step"):
        return f"{name}.{'train_step' if training else 'test_step'}"
    return f"{name}.compute_loss" if lab.overrides_compute_loss else None


def _run(lab: Lab, training: bool) -> _Ran:
    if training and lab.overrides_train_step:
        evaluation = evaluate(lab.model, lab.batch, True)
        if evaluation.total == 0.0 and not rerun_step(lab).losses:
            raise NotApplicable("the loss that this train_step differentiates could not be observed")
        penalties: list[Penalty] = []
        added: list[float] = []
        rest = None
        with suppress(Exception), heard_adding() as adding, lab.model.scope():  # a step may call the model otherwise
            forward = lab.model.forward(lab.batch.x)
            added = [float(np.sum(lab.number(loss))) for loss in forward.losses]
            penalties = penalties_of(lab.capture.model, forward.losses, adding)
            rest = _rest(lab)
        return _Ran(evaluation.total, evaluation.losses, tuple(penalties), tuple(added), rest)
    with listening() as hearing, heard_adding() as adding, lab.model.scope():
        forward = lab.model.forward(lab.batch.x, training)
        losses = list(forward.losses)
        total = lab.model.compute_loss(lab.batch, forward, training)
        penalties = penalties_of(lab.capture.model, losses, adding)
        added = [float(np.sum(lab.number(loss))) for loss in losses]
        rest = _rest(lab)
    number = float(np.sum(lab.number(total)))
    return _Ran(number, tuple(hearing.losses), tuple(penalties), tuple(added), rest)


def _rest(lab: Lab) -> tuple[Penalty, float] | None:
    found = rest_of(lab.capture.model)
    return None if found is None else (found[0], float(np.sum(lab.number(found[1]))))


def _compiled_entries(lab: Lab, heard: Sequence[Heard]) -> list[tuple[Any, ...] | None]:
    """For each loss that was heard, its entry among the compiled losses; each entry is taken once."""
    compiled = keras_private.flat_losses(lab.capture.model)
    found = []
    for one in heard:
        entry = next((entry for entry in compiled if entry[1] is one.target), None)
        if entry is not None:
            compiled.remove(entry)
        found.append(entry)
    return found


def _adds_up(ran: _Ran, values: Sequence[float], weights: Sequence[float]) -> bool:
    parts = [value * weight for value, weight in zip(values, weights, strict=True)] + list(ran.added)
    rest = 0.0 if ran.rest is None else ran.rest[1]
    size = max(map(abs, [ran.total, *parts]))
    return not np.isfinite(ran.total) or abs(ran.total - sum(parts) - rest) <= TOLERANCE * size


# Weights in an objective of the user's ------------------------------------------------------------------------------


def _measured(lab: Lab, ran: _Ran, training: bool, known: list[float]) -> tuple[list[float], float]:
    """How much the total grows with each loss, and with the added losses, per unit of them."""
    own_step = training and lab.overrides_train_step
    found = None
    if not own_step:
        with suppress(Exception):  # it need not be differentiable by these: then by finite differences
            found = _derivatives(lab, ran, training)
    if found is None:
        found = _differences(lab, ran, training, own_step)
    precise = rounding("float32", 1.0, 64)
    weights = [_snapped(weight, (guess, 1.0, 0.0), precise) for weight, guess in zip(found[0], known, strict=True)]
    return weights, _snapped(found[1], (1.0, 0.0, 2.0), precise)


def _snapped(weight: float, candidates: Sequence[float], precise: float) -> float:
    """The candidate that a measured weight cannot be told from; the weight itself if there is none."""
    return next((one for one in candidates if abs(weight - one) <= precise * max(1.0, abs(one))), weight)


def _total(lab: Lab, training: bool, shift: dict[int, Any], factor: Any) -> Any:
    with listening(shift=shift), lab.model.scope():
        forward = lab.model.forward(lab.batch.x, training)
        with ExitStack() as stack:
            if factor is not None:
                stack.enter_context(scaled_losses(factor))
                forward = Forward(forward.y_pred, [loss * factor for loss in forward.losses])
            return lab.model.compute_loss(lab.batch, forward, training)


def _derivatives(lab: Lab, ran: _Ran, training: bool) -> tuple[list[float], float]:
    count = len(ran.heard)
    has_penalties = bool(ran.added)
    start = [lab.backend.tensor(np.float32(0.0)) for _ in range(count)]
    if has_penalties:
        start.append(lab.backend.tensor(np.float32(1.0)))

    def total(*inputs: Any) -> Any:
        return _total(lab, training, dict(enumerate(inputs[:count])), inputs[count] if has_penalties else None)

    _, gradients = lab.backend.gradient(total, start) if start else (None, [])
    numbers = [0.0 if one is None else float(np.sum(lab.number(one))) for one in gradients]
    amount = sum(ran.added)
    return numbers[:count], numbers[count] / amount if has_penalties and amount else 1.0


def _differences(lab: Lab, ran: _Ran, training: bool, own_step: bool) -> tuple[list[float], float]:
    amount = 1024.0 * max(1.0, abs(ran.total))  # far above the rounding of the total

    def moved(shift: dict[int, Any]) -> float:
        if own_step:
            with listening(shift=shift):
                return evaluate(lab.model, lab.batch, True).total
        return float(np.sum(lab.number(_total(lab, training, shift, None))))

    weights = []
    for position in range(len(ran.heard)):
        try:
            weights.append((moved({position: amount}) - ran.total) / amount)
        except Exception:  # what the user's step does with another value: then it stays in what is left over
            weights.append(0.0)
    added = sum(ran.added)
    counted = 1.0
    if added and training:
        with suppress(Exception):
            factor = 1.0 + amount / abs(added)
            (many,) = totals_with_added_losses(lab, (factor,))
            counted = (many - ran.total) / ((factor - 1.0) * added)
    return weights, counted


# One term ----------------------------------------------------------------------------------------------------------


def _term(lab: Lab, subject: LossSubject, name: str, value: float, weight: float, several: bool) -> TermEntry:
    chain = chain_of(lab, subject, value)
    origin: Literal["sample_weight", "class_weight"] | None = None
    if subject.sample_weight is not None:
        by_class = lab.capture.data.get("class_weight") is not None
        origin = "class_weight" if by_class else "sample_weight"
    return TermEntry(
        name=name,
        loss=subject.name,
        output=subject.output if several else None,
        value=value,
        weight=weight,
        contribution=weight * value if weight else 0.0,
        raw=None if chain is None else chain.raw,
        masked=None if chain is None else chain.masked,
        weighted=None if chain is None else chain.weighted,
        count=None if chain is None else chain.count,
        shown=None if chain is None else chain.shown,
        reduction=getattr(subject.loss, "reduction", None),
        weights=origin,
        mean_weight=None if chain is None else chain.mean_weight,
    )


def _with_cause(lab: Lab, entry: Entry, own: str | None) -> Entry:
    if not np.isfinite(entry.total):
        return replace(entry, cause="the total is not finite")
    if own is None:
        return replace(entry, cause="unknown: Keras's own compute_loss adds these parts and nothing else")
    place = lab.place_of_method(own.rpartition(".")[2])
    where = f" ({place.file}:{place.line})" if place is not None else ""
    parts = "parts" if entry.terms or entry.penalties else "everything"
    return replace(
        entry, cause=f"{own}{where} computes {parts} of its total itself, not by a keras.losses.Loss or add_loss"
    )
