"""Runs instrumented functions and records what their expressions evaluate to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType, TracebackType
from typing import Any

from lossproof.capture import userfiles
from lossproof.findings.finding import Place
from lossproof.lab.localize.events import Event, Operand, Trace
from lossproof.lab.localize.sites import Part, Site, Text
from lossproof.lab.localize.slots import AttributeSlot, ItemSlot
from lossproof.lab.localize.source import Script
from lossproof.lab.localize.twins import Twins

_NO_DATA = (ModuleType, type, FunctionType, BuiltinFunctionType, MethodType, BaseException, Iterator)


class Recorder:
    """Records the evaluation of functions, expression by expression.

    Values are kept by reference; only of lists, dicts and tuples a copy is kept, which holds the same elements. So an
    array that later code changes in place changes in earlier events too: `keep` can store something else instead.
    Modules, classes, functions, exceptions and iterators are no data of a loss, and are not kept.

    Args:
        is_user_file: Whether a file is the user's; functions from other files are called, but not looked into.
        keep: Applied to each value as it is evaluated; its result is stored, and the value itself goes on unchanged.
        mark: Applied to each value as it is evaluated, after `keep`; the user's code goes on with its result, which must
            be an equal value.
        instead: Given the event of a value and the value, what the user's code goes on with in its place.
        limit: How many values to keep at most, elements of lists counted. `truncated` says whether more were dropped.
    """

    def __init__(
        self,
        is_user_file: Callable[[str], bool] = userfiles.is_user_file,
        *,
        keep: Callable[[Any], Any] | None = None,
        mark: Callable[[Any], Any] | None = None,
        instead: Callable[[Event, Any], Any] | None = None,
        limit: int = 1_000_000,
    ) -> None:
        self.truncated = False
        self.texts: dict[tuple[str, int | None], Text] = {}
        """The source text of each place's file and cell."""
        self._keep = keep
        self._mark = mark
        self._instead = instead
        self._limit = limit
        self._events: list[Event] = []
        self._twins = Twins(lambda script: Probe(self, script), is_user_file)
        # Values that wait for the expression around theirs, by frame and site, each with the time of its evaluation.
        self._pending: dict[tuple[int, Site], tuple[int, Any]] = {}
        self._places: dict[Site | Part, Place] = {}
        self._clock = 0
        self._kept = 0

    @property
    def events(self) -> tuple[Event, ...]:
        """What was evaluated so far."""
        return tuple(self._events)

    @property
    def blind(self) -> tuple[str, ...]:
        """Functions of the user that could not be looked into so far, each with the reason."""
        return tuple(self._twins.blind)

    def traced(self, function: Any) -> Any:
        """A twin of `function` to be called in its place, by whomever, any number of times.

        It has the same result, effects and exceptions, shares closure, globals and state with the original, and
        records here. Of a `keras.losses.Loss` it is a Loss of the same class. Where there is nothing to look into it
        is `function` itself, and `blind` says why.
        """
        known = len(self._twins.blind)
        twin = self._twins.of(function)
        if twin is function and len(self._twins.blind) == known:
            self._twins.note("it is not in the user's files", function)
        return twin

    def trace(self, function: Any, /, *args: Any, **kwargs: Any) -> Trace:
        """Call a twin of `function` once; what it raises is in the trace. `Exception`s only, others pass."""
        start = len(self._events)
        twin = self.traced(function)
        result = error = failed = None
        try:
            result = twin(*args, **kwargs)
        except Exception as raised:  #  the user's exception is what was asked for
            error = raised
            failed = self._failed(raised)
        self._pending.clear()
        return Trace(tuple(self._events[start:]), result, error, failed, self.blind, self.truncated)

    def record(self, site: Site, value: Any, frame: FrameType) -> Any:
        """A site was evaluated in a frame; the value to go on with. Never raises."""
        count = len(self._events)
        if not self.truncated:
            self.note(site, value, id(frame), self.depth(frame))
        if self._instead is not None and len(self._events) > count:
            value = self._instead(self._events[-1], value)
        return value if self._mark is None else self._mark(value)

    def note(self, site: Site, value: Any, activation: int, depth: int) -> None:
        """A site was evaluated in the frame with the id `activation`, `depth` functions below the traced one."""
        try:
            operands = self._operands(site, activation)
            self._pending.pop((activation, site), None)
            if issubclass(type(value), _NO_DATA):  # unlike isinstance, asks the value nothing
                return
            if self._kept >= self._limit:
                self.truncated = True
                return
            event = Event(self._place(site, site), site.kind, self._copy(value, ()), operands, depth)
        except Exception as error:  #  whatever is wrong here, the user's code must go on
            self._twins.note(f"a value of {site.scope} could not be recorded: {error!r}")
            return
        self._clock += 1
        if site.awaited:
            self._pending[activation, site] = self._clock, event.value
        self._events.append(event)

    def depth(self, frame: FrameType | None) -> int:
        """How many functions of the user, comprehensions not counted, stand between a frame and the traced one."""
        depth = -1
        while frame is not None:
            code = frame.f_code
            if self._twins.script_of(code) is not None and code.co_varnames[:1] != (".0",):
                depth += 1
            frame = frame.f_back
        return max(depth, 0)

    def twin(self, function: Any) -> Any:
        """What to call in place of `function`."""
        return self._twins.of(function)

    def _copy(self, value: Any, around: tuple[int, ...]) -> Any:
        """What is kept of a value. A list that the code fills later must not look filled from the start."""
        self._kept += 1
        if type(value) not in (tuple, list, dict) or id(value) in around:
            return value if self._keep is None else self._keep(value)
        around = (*around, id(value))
        if type(value) is dict:
            return {key: self._copy(held, around) for key, held in value.items()}
        held = [self._copy(each, around) for each in value]
        return held if type(value) is list else tuple(held)

    def _operands(self, site: Site, activation: int) -> tuple[Operand, ...]:
        # An operand left over from an earlier evaluation, which an exception cut short, is older than the first one.
        since = 0
        if site.first is not None:
            since = self._pending.get((activation, site.first), (0, None))[0]
        operands = []
        for part in site.parts:
            if part.site is None:
                when, value = since, part.constant
            else:
                when, value = self._pending.pop((activation, part.site), (-1, None))
            if when >= since:
                place = self._place(site, part)
                assert place.expression is not None
                assert place.column is not None
                assert place.end_column is not None
                operands.append(Operand(place.expression, place.line, place.column, place.end_column, value))
        return tuple(operands)

    def _place(self, site: Site, part: Site | Part) -> Place:
        """Where a site, or one of its parts, stands."""
        if part not in self._places:
            place = self._places[part] = site.text.place(part.span, site.scope)
            self.texts[place.file, place.cell] = site.text
        return self._places[part]

    def _failed(self, error: Exception) -> Event | None:
        """The innermost expression of the user that was being evaluated when `error` was raised."""
        innermost: tuple[TracebackType, Script] | None = None
        at = error.__traceback__
        while at is not None:
            script = self._twins.script_of(at.tb_frame.f_code)
            innermost = innermost if script is None else (at, script)
            at = at.tb_next
        if innermost is None:
            return None
        at, script = innermost
        code, depth = at.tb_frame.f_code, self.depth(at.tb_frame)
        line, last, column, end = list(code.co_positions())[at.tb_lasti // 2]
        if line is None or last is None or column is None or end is None:
            return None
        span = line, column, last, end
        site = {site.span: site for site in script.sites}.get(span)
        if site is None:  # such as the attribute in `y.missing()`
            return Event(script.text.place(span, code.co_qualname), "other", error, (), depth)
        return Event(self._place(site, site), site.kind, error, self._operands(site, id(at.tb_frame)), depth)


class Probe:
    """What instrumented code of one script talks to. Each method returns what it was given, or a stand-in for it."""

    __slots__ = ("_recorder", "_sites")

    def __init__(self, recorder: Recorder, script: Script) -> None:
        self._recorder = recorder
        self._sites = script.sites

    def value(self, site: int, value: Any) -> Any:
        """An expression was evaluated."""
        return self._recorder.record(self._sites[site], value, sys._getframe(1))  # noqa: SLF001  its documented use

    def callee(self, function: Any) -> Any:
        """A function is about to be called."""
        return self._recorder.twin(function)

    def item(self, old: int, new: int, owner: Any) -> ItemSlot:
        """`owner[...]` is about to be updated."""
        return ItemSlot(owner, *self._slot(old, new, sys._getframe(1)))  # noqa: SLF001  its documented use

    def attribute(self, old: int, new: int, owner: Any) -> AttributeSlot:
        """An attribute of `owner` is about to be updated."""
        return AttributeSlot(owner, *self._slot(old, new, sys._getframe(1)))  # noqa: SLF001  its documented use

    def _slot(self, old: int, new: int, frame: FrameType) -> tuple[Callable[[Any], None], Callable[[Any], None]]:
        # A frame must not be kept: it would keep the user's variables alive.
        recorder, activation, depth = self._recorder, id(frame), self._recorder.depth(frame)
        before, after = self._sites[old], self._sites[new]
        return (
            lambda value: recorder.note(before, value, activation, depth),
            lambda value: recorder.note(after, value, activation, depth),
        )


def trace(function: Any, /, *args: Any, **kwargs: Any) -> Trace:
    """Run an instrumented twin of `function` once, with a recorder of its own. See `Recorder.trace`."""
    return Recorder().trace(function, *args, **kwargs)


def traced(function: Any, recorder: Recorder) -> Any:
    """An instrumented twin of `function` that records into `recorder`. See `Recorder.traced`."""
    return recorder.traced(function)
