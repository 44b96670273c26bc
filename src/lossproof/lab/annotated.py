"""A captured objective as its user would print it: every expression with shape, dtype, range and gradient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lossproof.capture.userfiles import is_user_function
from lossproof.lab.adding import adding_subjects
from lossproof.lab.card import tensor_cards
from lossproof.lab.lab import Lab
from lossproof.lab.localize.events import Event, Trace
from lossproof.lab.localize.functions import lines_of
from lossproof.lab.localize.recorder import Recorder
from lossproof.lab.localize.sites import Text
from lossproof.lab.measured import Parts, measured
from lossproof.lab.slopes_inside import gradients_inside
from lossproof.lab.subject import LossSubject, Subject
from lossproof.lab.subjects import of_the_user
from lossproof.report.report import TensorCard
from lossproof.report.traced import Expression, TracedCapture, TracedFunction, TracedTerm, Values
from lossproof.rules.rule import NotApplicable

MOST_VALUES = 200_000
"""Values recorded of one loss; a loop over pixels has more, and nobody reads them."""

_READING = ("name", "attribute", "collection", "comprehension")
"""Kinds of expressions that may only hold what others gave."""

_Key = tuple[str, int | None, str, int]
"""File, cell, qualified name and first line of a function."""


@dataclass(frozen=True)
class Kept:
    """What is kept of a value: itself, for its identity, and its numbers as they were then."""

    value: Any
    parts: Parts


def traced_capture(lab: Lab, gradients: bool) -> TracedCapture:
    """Trace each loss of a captured objective. What cannot be had is said in `unseen` and in the terms' notes."""
    capture = lab.capture
    terms: list[TracedTerm] = []
    unseen: list[str] = []
    shown: set[tuple[str, int | None, str, int]] = set()
    try:
        subjects = sorted(of_the_user(lab.subjects), key=lambda one: isinstance(one, LossSubject))
    except NotApplicable as reason:
        subjects = []
        unseen.append(str(reason))
    for subject in subjects:
        term = _traced_term(lab, subject, gradients)
        keys = {(f.where.file, f.where.cell, f.name, f.where.line) for f in term.functions if f.depth == 0}
        # A loss that an overridden `compute_loss` calls was seen there, with what it received.
        if subject.kind == "loss" and keys and keys <= shown:
            continue
        shown |= {(f.where.file, f.where.cell, f.name, f.where.line) for f in term.functions}
        terms.append(term)
    for adding in lab.attempt(lambda: adding_subjects(lab)) or () if subjects else ():
        terms.append(_traced_term(lab, adding, gradients=False))
        if gradients:
            terms[-1] = replace(terms[-1], notes=(*terms[-1].notes, "no gradients are taken of what a layer adds"))
    return TracedCapture(
        id=capture.id,
        call=capture.call,
        where=capture.where,
        model=getattr(capture.model, "name", "no model"),
        terms=tuple(terms),
        unseen=tuple(unseen),
    )


def _traced_term(lab: Lab, subject: Subject, gradients: bool) -> TracedTerm:
    recorders: list[Recorder] = []

    def recorder() -> Recorder:
        recorders.append(Recorder(keep=lambda value: Kept(value, measured(lab.backend, value)), limit=MOST_VALUES))
        return recorders[-1]

    notes: list[str] = []
    try:
        trace = lab.trace(subject, recorder)
    except Exception as error:  # before the user's code was reached
        trace = Trace((), error=error)
    events = trace.events
    found: dict[tuple[Any, int], Parts] = {}
    if gradients and events and trace.error is None:
        try:
            with lab.undisturbed():
                found = _numbered(gradients_inside(lab, subject))
        except Exception as error:  # the user's code may refuse to be differentiated
            notes.append(f"no gradients: {type(error).__name__}: {_first_line(error)}")
        if found and all(one.gradient is None for parts in found.values() for one in parts):
            notes.append("no gradient reaches any of its expressions")
    texts = {key: text for one in recorders for key, text in one.texts.items()}
    if not isinstance(subject, LossSubject) or is_user_function(subject.function):
        notes += [f"not looked into: {reason}" for reason in dict.fromkeys(b for one in recorders for b in one.blind)]
    if any(one.truncated for one in recorders):
        notes.append(f"only its first {MOST_VALUES} values were recorded")
    return TracedTerm(
        kind=subject.kind,
        name=subject.name,
        output=subject.output,
        weight=subject.weight,
        received=_received(lab, subject),
        value=lab.attempt(lambda: lab.value(subject)),
        functions=tuple(_functions(events, found, texts)),
        notes=tuple(notes),
        error=None if trace.error is None else f"{type(trace.error).__name__}: {_first_line(trace.error)}",
    )


def _received(lab: Lab, subject: Subject) -> tuple[TensorCard, ...]:
    named = {"x": None if subject.kind == "loss" else subject.x, "y_true": subject.y_true, "y_pred": subject.y_pred}
    named["sample_weight"] = subject.sample_weight
    cards: list[TensorCard] = []
    for name, data in named.items():
        if data is not None:
            cards += lab.attempt(partial(tensor_cards, lab, name, data)) or ()
    return tuple(cards)


def _numbered(gradients: Sequence[tuple[Event, Parts]]) -> dict[tuple[Any, int], Parts]:
    """By place, kind and how many evaluations of it came before."""
    counts: defaultdict[Any, int] = defaultdict(int)
    found = {}
    for event, parts in gradients:
        key = (event.place, event.kind)
        found[key, counts[key]] = parts
        counts[key] += 1
    return found


def _functions(
    events: Sequence[Event], gradients: dict[tuple[Any, int], Parts], texts: dict[tuple[str, int | None], Text]
) -> Iterator[TracedFunction]:
    """The functions in which something was evaluated, outer ones first."""
    spans: dict[_Key, tuple[int, int]] = {}
    groups: dict[_Key, dict[Any, list[tuple[Event, tuple[Values, ...]]]]] = {}
    counts: defaultdict[Any, int] = defaultdict(int)
    seen: set[int] = set()
    known: set[tuple[_Key, Any]] = set()
    depths: dict[_Key, int] = {}
    for event in events:
        place = event.place
        text = texts[place.file, place.cell]
        first, last = lines_of(text, place)
        key = (place.file, place.cell, place.scope or "", first)
        spans[key] = (first, last)
        depths[key] = min(depths.get(key, event.depth), event.depth)
        identity = (place, event.kind)
        values = _with_gradients(_values(event.value), gradients.get((identity, counts[identity])))
        counts[identity] += 1
        ids = {id(one.value) for one in _kept(event.value)}
        site = groups.setdefault(key, {}).setdefault(identity, [])
        if not site and event.kind in _READING and ids and ids <= seen:
            known.add((key, identity))
        seen |= ids
        if values:
            site.append((event, values))
    order = sorted(groups, key=lambda key: (depths[key], list(groups).index(key)))
    for key in order:
        first, last = spans[key]
        lines = texts[key[0], key[1]].lines
        expressions = tuple(
            Expression(where, kind, len(all_of), all_of[0][1], all_of[-1][1], known=(key, (where, kind)) in known)
            for (where, kind), all_of in groups[key].items()
            if all_of
        )
        if expressions:
            yield TracedFunction(
                name=key[2],
                where=replace(expressions[0].place, line=first, column=None, end_column=None, expression=None),
                lines=tuple((n, lines[n - 1].rstrip("\r\n")) for n in range(first, min(last, len(lines)) + 1)),
                expressions=expressions,
                depth=depths[key],
            )


def _kept(value: Any, around: tuple[int, ...] = ()) -> Iterator[Kept]:
    if isinstance(value, Kept):
        yield value
    elif isinstance(value, tuple | list | dict) and id(value) not in around:
        for held in value.values() if isinstance(value, dict) else value:
            yield from _kept(held, (*around, id(value)))


def _values(value: Any, part: str = "", around: tuple[int, ...] = ()) -> Iterator[Values]:
    """The numbers in a kept value, each with where it stands."""
    if isinstance(value, Kept):
        yield from (replace(one, part=part + one.part) for one in value.parts)
    elif isinstance(value, tuple | list | dict) and id(value) not in around:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, held in items:
            yield from _values(held, f"{part}[{name!r}]", (*around, id(value)))


def _with_gradients(values: Iterator[Values], gradients: Parts | None) -> tuple[Values, ...]:
    plain = tuple(values)
    if gradients is None or len(gradients) != len(plain):
        return plain
    return tuple(replace(one, gradient=two.gradient, cut=two.cut) for one, two in zip(plain, gradients, strict=True))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"
