"""Functions in every syntax that a loss may use. Each takes a list and logs there what it does, in order."""

# They are written in every way, not only in the good one.
# ruff: noqa: B006, B008, B026, B905, C416, E731, F821, F841, F842, PLC2401, PLC3002, PLR0133, PLW0120, PLW0603, PYI034, RUF005, RUF012, RUF015, RUF021, UP008

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import types
import warnings
from typing import Any

TOTAL = 0


class Num:
    """A number that logs every operation on it, also being asked for its truth."""

    def __init__(self, value: Any, log: list[Any]) -> None:
        self.value, self.log = value, log

    def _do(self, name: str, result: Any) -> Num:
        self.log.append((name, self.value, result))
        return Num(result, self.log)

    def __add__(self, other: Any) -> Num:
        return self._do("add", self.value + _plain(other))

    def __radd__(self, other: Any) -> Num:
        return self._do("radd", _plain(other) + self.value)

    def __iadd__(self, other: Any) -> Num:
        return self._do("iadd", self.value + _plain(other))

    def __mul__(self, other: Any) -> Num:
        return self._do("mul", self.value * _plain(other))

    def __neg__(self) -> Num:
        return self._do("neg", -self.value)

    def __lt__(self, other: Any) -> Num:
        return self._do("lt", self.value < _plain(other))

    def __bool__(self) -> bool:
        self.log.append(("bool", self.value))
        return bool(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Num) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


def _plain(other: Any) -> Any:
    return other.value if isinstance(other, Num) else other


def tick(log: list[Any], value: Any) -> Any:
    """A callee of the user: logs, and returns what it was given."""
    log.append(value)
    return value


def arithmetic(log):
    a, b = Num(3, log), Num(4, log)
    return -(a + b * 2) + (1 + a)


def short_circuit(log):
    zero, one, two = Num(0, log), Num(1, log), Num(2, log)
    return [
        zero and one,
        zero or two,
        one and zero and tick(log, two),
        (zero and one) or (two and one),
        not (one and zero or two),
        zero or (one and (two or zero)),
    ]


def tests_ask_once(log):
    zero, one, two = Num(0, log), Num(1, log), Num(2, log)
    if zero and one or two:
        log.append("if")
    if not (one and (zero or two)):
        log.append("not")
    if (zero if one else two) and one:
        log.append("conditional")
    if zero < one < two:
        log.append("chain")
    if one < two < zero or zero < one:
        log.append("chain in or")
    while one and two:
        one = zero
    assert two or zero, tick(log, "never")
    kept = [k for k in (zero, one, two) if k and two or k]
    return kept, (1 if zero and two else 2), (lambda x: x and one or two)(zero)


def chained_comparison(log):
    return [
        tick(log, 1) < tick(log, 2) < tick(log, 3),
        tick(log, 2) < tick(log, 1) < tick(log, 0),
        Num(0, log) < Num(1, log) < Num(2, log),
        tick(log, 1) in [1, 2] != tick(log, False),
        0 < tick(log, 5) <= 5,
    ]


def conditional_expression(log):
    pick = tick(log, True)
    return tick(log, "a") if pick else tick(log, "b"), tick(log, "c") if not pick else tick(log, "d")


def comprehensions(log):
    pairs = [(i, j) for i in range(tick(log, 3)) if i % 2 == 0 for j in range(i) if tick(log, j) < 2]
    squares = {k: k**2 for k in tick(log, [1, 2])}
    return pairs, squares, {tick(log, k) % 2 for k in range(4)}, [[c for c in row] for row in ("ab", "cd")]


def generator_expression(log):
    lazy = (tick(log, k) for k in range(5))
    log.append("nothing drawn yet")
    first = next(lazy)
    return first, sum(lazy), any(tick(log, k) > 1 for k in range(5)), sorted((k for k in (2, 1)), key=lambda k: -k)


def walrus(log):
    if (n := tick(log, 5)) > 3 and (m := n + 1):
        log.append(m)
    return n, [last := k for k in range(3)], last, (pair := (n, m))[0], pair


def lambdas(log):
    add = lambda a, b=tick(log, 2), *rest, c=tick(log, 3), **more: (a, b, rest, c, more)
    twice, thrice = lambda x: x * 2, lambda x: x * 3
    return add(1), add(1, 5, 6, c=7, d=8), twice(tick(log, 4)), thrice(4), (lambda: tick(log, "now"))()


def augmented_names(log):
    global TOTAL
    x = Num(1, log)
    x += tick(log, 2)
    y = [1]
    z = y
    y += [tick(log, 2)]
    TOTAL += 10
    n = 7
    n //= 2
    n **= 2
    return x, z, y is z, TOTAL, n


class Holder:
    """Logs every access to its items and attributes."""

    __secret = 5

    def __init__(self, log):
        object.__setattr__(self, "log", log)
        object.__setattr__(self, "held", {"a": 1})

    def __getitem__(self, key):
        self.log.append(("get", key))
        return self.held[key]

    def __setitem__(self, key, value):
        self.log.append(("set", key, value))
        self.held[key] = value

    def __getattr__(self, name):
        self.log.append(("getattr", name))
        if name == "missing":
            raise AttributeError(f"no {name}")
        return 40

    def __setattr__(self, name, value):
        self.log.append(("setattr", name, value))
        object.__setattr__(self, name, value)

    def mangle(self):
        self.__secret += 1
        self.__hidden = self.__secret * 2
        return self.__secret, self.__hidden, [self.__secret for _ in range(1)], (lambda: self.__hidden)()


def named(log, name, value):
    log.append(name)
    return value


def augmented_targets(log):
    holder = Holder(log)
    named(log, "owner", holder)["a"] += tick(log, 2)
    named(log, "owner", holder).forty += tick(log, 2)
    matrix = [[1, 2], [3, 4]]
    matrix[tick(log, 0)][tick(log, 1)] *= tick(log, 10)
    matrix[0][:1] += [9]
    return holder.held, holder.forty, matrix


def mangled_names(log):
    return Holder(log).mangle()


def f_strings(log):
    value = tick(log, 1.5)
    return f"{value!r:>10} {tick(log, 2):0{tick(log, 3)}d} {[k for k in 'ab']} {value=} {(lambda v: v + 1)(value)}"


def starred(log):
    def take(*args, **kwargs):
        return args, kwargs

    head, *middle, tail = tick(log, [1, 2, 3, 4])
    first, (second, *_) = (1, (2, 3))
    more = {"k": 1}
    return take(0, *middle, tail, **more, z=tick(log, 9)), [*middle, *range(2)], {**more, "j": 2}, first, second, head


def keyword_before_starred(log):
    def take(*args, **kwargs):
        return args, kwargs

    return take(*tick(log, (1,)), k=tick(log, 2), *tick(log, (3,)), **{tick(log, "m"): tick(log, 4)})


def try_finally(log):
    def inner(fail):
        try:
            tick(log, "try")
            if fail:
                raise ValueError(tick(log, "failed"))
            return tick(log, "returned")
        except ValueError as error:
            log.append(str(error))
            return "caught"
        else:
            log.append("never")
        finally:
            tick(log, "finally")
            last = lambda: tick(log, "in finally")
            last()

    return inner(False), inner(True)


def finally_overrides(log):
    for k in range(3):
        try:
            if k == 1:
                continue
            tick(log, k)
        finally:
            log.append(("done", k))
    else:
        log.append("else")


def with_statement(log):
    @contextlib.contextmanager
    def opened(name):
        log.append(("open", name))
        try:
            yield tick(log, name.upper())
        except KeyError as error:
            log.append(("swallowed", error.args))
        finally:
            log.append(("close", name))

    with opened("a") as a, opened("b") as (b):
        log.append(a + b)
        raise KeyError(tick(log, "lost"))
    return a


def loops(log):
    out = []
    for i, (j, k) in enumerate(zip(tick(log, [1, 2, 3]), "abc")):
        if tick(log, i) == 1:
            continue
        out.append((i, j, k))
    else:
        out.append("else")
    n = 5
    while n := n - 1:
        if n == 2:
            break
        tick(log, n)
    for out[tick(log, 0)] in range(2):
        pass
    return out, n


def early_return(log):
    for k in range(10):
        if tick(log, k) > 2:
            return k
    return tick(log, "never")


def nested_functions(log):
    count = 0

    def scaled(factor, *, offset=tick(log, 1)):
        def inner(x):
            nonlocal count
            count += 1
            return x * factor + offset + count

        return inner

    double = scaled(2)
    return double(10), scaled(3, offset=0)(10), double(1), count


def decorated_nested(log):
    def twice(function):
        log.append(f"decorating {function.__name__}")

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return [function(*args, **kwargs), function(*args, **kwargs)]

        return wrapper

    def labelled(label):
        log.append(label)
        return lambda function: lambda *args: (label, function(*args))

    @labelled(tick(log, "outer"))
    @twice
    def work(x):
        return tick(log, x)

    return work(7)


class Base:
    """For `super()`."""

    size = 2

    def __init__(self, log):
        self.log = log

    def area(self, scale=1):
        return tick(self.log, self.size) * scale

    @classmethod
    def make(cls, log):
        return cls(log)

    @staticmethod
    def unit():
        return 1

    @property
    def half(self):
        return self.size / 2


class Derived(Base):
    """Calls its parent in all ways."""

    def __init__(self, log):
        super().__init__(log)
        self.size = super().size + 1

    def area(self, scale=1):
        return super().area(scale) + super(Derived, self).area() + [super(__class__, self).area() for _ in "x"][0]

    @classmethod
    def make(cls, log):
        return named(log, "made", super().make(log))

    def kind(self):
        return __class__.__name__


def super_and_class(log):
    made = Derived.make(log)
    return made.area(scale=tick(log, 2)), made.kind(), made.unit(), Derived.unit(), made.half, Base.area(made)


def local_class(log):
    class Metric(Base):
        weights = [tick(log, w) for w in (1, 2)]
        total = sum(weights)
        total += 1

        def area(self, scale=total):
            return super().area(scale) + self.total

    return Metric(log).area(), Metric.total


class Namespace(dict):
    """The namespace of a class that logs what is read from it."""

    def __init__(self, log):
        self.log = log

    def __getitem__(self, key):
        self.log.append(key)
        return super().__getitem__(key)


class Logging(type):
    """A metaclass with such a namespace."""

    @classmethod
    def __prepare__(cls, name, bases, log):
        return Namespace(log)

    def __new__(cls, name, bases, namespace, log):
        return super().__new__(cls, name, bases, dict(namespace))

    def __init__(cls, name, bases, namespace, log):
        pass


def class_with_a_namespace_of_its_own(log):
    class Metric(metaclass=Logging, log=log):
        total = 1
        total += tick(log, 2)
        twice = total * 2

    return Metric.total, Metric.twice


def default_arguments(log, scale=TOTAL + 2, *, items=[1]):
    items.append(tick(log, scale))
    return list(items)


def variadic(log, *args, key=None, **kwargs):
    return len(args), key, sorted(kwargs), tick(log, args)


def recursion(log, n=5):
    return 1 if n == 0 else tick(log, n) * recursion(log, n - 1)


def global_statement(log):
    global CREATED
    CREATED = tick(log, 3)
    return CREATED, globals()["CREATED"]


def looks_at_locals(log):
    x = tick(log, 1)
    x += 1
    seen = [sorted(locals()) for _ in range(1)]
    del x
    return sorted(locals()), seen, eval("log is log"), sorted(vars())


def looks_at_frames(log):
    here = sys._getframe()
    return here.f_code.co_name, here.f_lineno, here.f_code.co_varnames, sorted(here.f_locals), log


def imports(log):
    import math as m
    from math import floor

    return m.ceil(tick(log, 1.5)) + floor(tick(log, 2.5))


def warns(log):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("careful", stacklevel=2)
    return [(str(w.message), w.filename == __file__) for w in caught], log


def generator_function(log):
    def numbers(n):
        total = 0
        for k in range(n):
            got = yield tick(log, k)
            total += got or 0
        yield from (tick(log, total), "end")
        return "returned"

    def outer():
        result = yield from numbers(2)
        log.append(result)

    drawn = outer()
    return [next(drawn), drawn.send(10), *drawn]


def interleaved_generators(log):
    def scaled(factor):
        for k in range(3):
            yield tick(log, k) * factor + 1

    return list(zip(scaled(2), scaled(3)))


def coroutine(log):
    async def slow(x):
        await asyncio.sleep(0)
        return tick(log, x)

    async def count():
        for k in range(2):
            yield await slow(k)

    async def main():
        async with contextlib.AsyncExitStack():
            async for k in count():
                log.append(k)
            return [await slow(5) + 1, [k async for k in count() if await slow(True)]]

    return asyncio.run(main())


@types.coroutine
def outer_step(x, log):
    yield tick(log, x)
    return x * 3


def generator_based_coroutine(log):
    @types.coroutine
    def step(x):
        yield tick(log, x)
        return x * 2

    async def main():
        return await step(1) + await step(2) + await outer_step(3, log)

    running = main()
    try:
        while True:
            log.append(running.send(None))
    except StopIteration as stop:
        return stop.value


def slices(log):
    items = list(range(10))
    items[tick(log, 1) : tick(log, 3)] = [tick(log, "x")]
    del items[tick(log, -1)], items[0]
    table = {(1, 2): "pair", (0, slice(1, None)): "never"} if sys.version_info >= (3, 12) else {(1, 2): "pair"}
    return items[::2], items[-2:], table[1, 2], table[tick(log, 1), 2], items[:]


def matching(log):
    out = []
    for subject in ({"kind": "l1", "w": 2}, [1, 2, 3], Num(4, log), "text", 0):
        match tick(out, subject):
            case {"kind": kind, **rest} if tick(log, kind):
                out.append(rest)
            case [first, *others] if first and others:
                out.append(others)
            case Num(value=value):
                out.append(value)
            case str() as text:
                out.append(text)
            case _:
                out.append("other")
    return out


def constants(log):
    return -1, 2**10, 1 if True else 2, "ab", (1, (2, 3)), not 0, None, ..., 1j + 2, "abc"[1], 1 < 2 < 3, __debug__, log


def multiple_lines(log):
    return (
        tick(log, 1)
        + tick(
            log,
            2,
        )
        - sum(
            [
                tick(log, 3),
                4,
            ]
        )
    )


def non_ascii(log):
    größe, π = tick(log, "ä€𝛑"), tick(log, 3.0)
    return [größe + "→", π * 2] + [tick(log, größe)] + sorted({größe, "ß"})


def annotations(log):
    x: int = tick(log, 1)
    y: tick(log, "never evaluated")
    (z): float = 2.0
    holder: dict[str, undefined] = {}
    holder["k"]: int = tick(log, 4)
    return x, z, holder


def deletes_and_unbound(log):
    x = tick(log, 1)
    del x
    return x


def unbound_update(log):
    missing += tick(log, 1)
    return log


def raises_from(log):
    try:
        {}[tick(log, "absent")]
    except KeyError as error:
        raise RuntimeError(tick(log, "wrapped")) from error


def raises_in_operator(log):
    return tick(log, 1) + tick(log, "text")


def raises_in_argument(log):
    return max(tick(log, 1), 1 / tick(log, 0), tick(log, "never"))


def raises_in_callee(log):
    def inner(x):
        return x.nothing

    return [inner(tick(log, k)) for k in range(3)]


def raises_in_attribute_update(log):
    holder = Holder(log)
    holder.missing += tick(log, 1)


def raises_in_tuple_update(log):
    pair = (tick(log, [1]), 2)
    try:
        pair[0] += [tick(log, 3)]
    finally:
        log.append(pair)


def raises_not_callable(log):
    return tick(log, 3)(tick(log, "argument"))


def raises_wrong_arguments(log):
    return tick(log, 1, 2)


def raises_assertion(log):
    assert tick(log, 0) > 1, f"too small: {tick(log, 'message')}"


def raises_group(log):
    caught = []
    try:
        raise ExceptionGroup("both", [ValueError(tick(log, 1)), TypeError(tick(log, 2))])
    except* ValueError as group:
        caught.append(str(group.exceptions[0]))
    return caught


def loses_operands_to_exceptions(log):
    """What was evaluated before an exception must not turn up as an operand later."""
    out = []
    for a, b in ((1, 0), (0, 5), (2, 4)):
        try:
            out.append(a and b and 1 / b)
            out.append(a and (1 / b) and b)
        except ZeroDivisionError:
            out.append("failed")
    return out, log
