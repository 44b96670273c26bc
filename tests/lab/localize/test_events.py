"""What is recorded, for functions small enough to know it by hand."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from lossproof.lab.localize.queries import first_broadcast
from lossproof.lab.localize.recorder import Recorder


@pytest.fixture
def record(load):
    """Runs `f` of a source text: its trace."""

    def record(source, *args, function="f", **options):
        module = load(source)
        recorder = Recorder(lambda file: file == module.__file__, **options)
        return recorder.trace(getattr(module, function), *args)

    return record


def told(trace):
    return [(e.kind, e.place.expression, e.value, [(o.expression, o.value) for o in e.operands]) for e in trace.events]


def test_every_expression_in_order_with_its_operands(record):
    trace = record("def f(a, b):\n    return abs(a - b * 2)[0] if False else abs(a - b * 2)\n", 1, 4)
    assert told(trace) == [
        ("name", "a", 1, []),
        ("name", "b", 4, []),
        ("binop", "b * 2", 8, [("b", 4), ("2", 2)]),
        ("binop", "a - b * 2", -7, [("a", 1), ("b * 2", 8)]),
        ("call", "abs(a - b * 2)", 7, [("a - b * 2", -7)]),
        ("conditional", "abs(a - b * 2)[0] if False else abs(a - b * 2)", 7, [("abs(a - b * 2)", 7)]),
    ]
    assert trace.result == 7
    assert (trace.error, trace.failed, trace.blind, trace.truncated) == (None, None, (), False)


def test_places_tell_line_columns_and_scope(record):
    source = (
        "class Loss:\n    def call(self, y):\n"
        "        def inner(z):\n            return 'ü', -z\n"
        "        return inner(y)\n\nf = Loss().call\n"
    )
    trace = record(source, 3)
    minus = next(e for e in trace.events if e.kind == "unaryop")
    place = minus.place
    assert (place.line, place.column, place.end_column) == (4, 24, 26)
    assert (place.expression, place.source) == ("-z", "            return 'ü', -z")
    assert place.scope == "Loss.call.<locals>.inner"
    assert place.file.endswith(".py")


def test_an_expression_over_several_lines(record):
    trace = record("def f(a):\n    return abs(\n        a\n        - 5\n    )\n", 1)
    minus, call = trace.events[-2:]
    assert (minus.place.line, minus.place.column, minus.place.end_column) == (3, 8, 9)
    assert minus.place.expression == "a\n        - 5"
    assert [(o.line, o.column, o.end_column) for o in minus.operands] == [(3, 8, 9), (4, 10, 11)]
    assert (call.place.line, call.place.column, call.place.end_column) == (2, 11, 15)


def test_operands_of_calls_are_receiver_arguments_and_keywords(record):
    trace = record("def f(x, k):\n    return x.sum(*k, axis=0, keepdims=True)\n", np.ones((2, 3)), ())
    call = trace.events[-1]
    assert [o.expression for o in call.operands] == ["x", "k", "0", "True"]
    np.testing.assert_array_equal(call.value, [[2, 2, 2]])


def test_the_operand_of_a_comprehension_is_what_it_goes_through(record):
    trace = record(
        "def f(x, y):\n    return sum(k * j for k in x for j in y) + len([k for k in x if y])\n", [1, 2], [3]
    )
    calls = [[o.expression for o in e.operands] for e in trace.events if e.kind in ("call", "comprehension")]
    assert calls == [["x"], ["x"], ["[k for k in x if y]"]]


def test_modules_classes_functions_and_iterators_are_no_values(record):
    source = "import math\nimport numpy as np\ndef f(x):\n    return np.float64(sum(iter([math.exp(x), max(x, 0)])))\n"
    assert [e.place.expression for e in record(source, 0).events] == [
        "x",
        "math.exp(x)",
        "x",
        "max(x, 0)",
        "[math.exp(x), max(x, 0)]",
        "sum(iter([math.exp(x), max(x, 0)]))",
        "np.float64(sum(iter([math.exp(x), max(x, 0)])))",
    ]


def test_operands_not_evaluated_are_left_out(record):
    trace = record("def f(a, b):\n    return (a and b), (a or b), (a if b else 1), (a < b < 3)\n", 0, 5)
    operands = {e.place.expression: [o.expression for o in e.operands] for e in trace.events}
    assert operands["a and b"] == ["a"]
    assert operands["a or b"] == ["a", "b"]
    assert operands["a if b else 1"] == ["a", "b"]
    assert operands["a < b < 3"] == ["a", "b"]


def test_operands_left_by_an_exception_are_not_taken_for_new_ones(record):
    source = """
def f():
    out = []
    for a, b in ((1, 0), (0, 5)):
        try:
            out.append((a and b or 1 / b) + (0 < a < b < 1 / b))
        except ZeroDivisionError:
            pass
    return out
"""
    trace = record(source)
    assert trace.result == [0.2]
    (compare,) = [e for e in trace.events if e.kind == "compare"]
    assert [(o.expression, o.value) for o in compare.operands if o.expression == "a"] == [("a", 0)]
    (or_,) = [e for e in trace.events if e.place.expression == "a and b or 1 / b"]
    assert [(o.expression, o.value) for o in or_.operands] == [("a", 0), ("1 / b", 0.2)]


def test_an_operand_left_behind_is_not_taken_for_one_that_is_not_recorded(record):
    source = """
def f():
    for a, b in ((1, 0), (iter("x"), 2)):
        try:
            c = a and 1 / b
        except ZeroDivisionError:
            pass
"""
    (and_,) = [e for e in record(source).events if e.kind == "boolop"]
    assert [(o.expression, o.value) for o in and_.operands] == [("1 / b", 0.5)]


def test_constants_are_operands_and_no_events(record):
    source = "def f(x):\n    return x[-1] * (2 ** 3) + (1 if True else 2) - abs(-(1 + 1))\n"
    trace = record(source, [5])
    assert [e.kind for e in trace.events] == ["name", "subscript", "binop", "binop", "call", "binop"]
    assert [(o.expression, o.value) for o in trace.events[1].operands] == [("x", [5]), ("-1", -1)]
    assert trace.result == 5 * 8 + 1 - 2


def test_an_index_is_several_operands(record):
    source = "def f(x, i, j):\n    x[i, j:] += 1\n    return x[i, :j, None]\n"
    trace = record(source, np.zeros((2, 3)), 1, 2)
    assert [e.kind for e in trace.events if e.kind not in ("name", "subscript")] == ["augassign"]
    assert [[o.expression for o in e.operands] for e in trace.events if e.kind == "subscript"] == [
        ["x", "i", "j"],
        ["x", "i", "j", "None"],
    ]


def test_updates_tell_old_value_operand_and_new_value(record):
    source = "def f(x, items, self):\n    x += 2\n    items[0] *= x\n    self.total -= x\n    return x\n"

    class Owner:
        total = 10

    trace = record(source, 1, [4], Owner())
    assert [
        (e.place.expression, e.value, [o.value for o in e.operands]) for e in trace.events if e.kind == "augassign"
    ] == [
        ("x += 2", 3, [1, 2]),
        ("items[0] *= x", 12, [4, 3]),
        ("self.total -= x", 7, [10, 3]),
    ]


def test_depth_counts_the_functions_of_the_user(record):
    source = """
def g(x):
    return [(lambda y: y + 3)(x + 2) for _ in "a"]

def f(x):
    return list(map(lambda z: z * 4, g(x + 1)))
"""
    trace = record(source, 0)
    depth = {e.place.expression: e.depth for e in trace.events if e.kind == "binop"}
    assert depth == {"x + 1": 0, "x + 2": 1, "y + 3": 2, "z * 4": 1}


def test_recursion_keeps_operands_apart(record):
    source = "def f(n):\n    return 1 if n == 0 else n * f(n - 1) + n\n"
    products = [e for e in record(source, 4).events if e.place.expression == "n * f(n - 1)"]
    assert [[o.value for o in e.operands] for e in products] == [[1, 1], [2, 2], [3, 6], [4, 21]]
    assert [e.depth for e in products] == [3, 2, 1, 0]


def test_threads_keep_operands_apart(load):
    module = load("def f(x, wait):\n    return x + wait.wait()\n")
    recorder = Recorder(lambda file: file == module.__file__)
    both = threading.Barrier(2)  # each thread has read its `x` before either goes on
    twin = recorder.traced(module.f)
    threads = [threading.Thread(target=twin, args=(100 * k, both)) for k in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sums = [e for e in recorder.events if e.kind == "binop"]
    assert sorted(e.operands[0].value for e in sums) == [100, 200]
    assert all(e.value == sum(o.value for o in e.operands) for e in sums)


def test_a_list_is_kept_as_it_was(record):
    source = "def f(x):\n    out = []\n    for k in range(2):\n        out.append(x[k])\n    return out\n"
    trace = record(source, {0: "a", 1: "b"})
    assert [e.value for e in trace.events if e.kind in ("collection", "name") and isinstance(e.value, list)] == [
        [],
        [],
        ["a"],
        ["a", "b"],
    ]
    assert trace.result == ["a", "b"]


def test_a_dict_is_kept_as_it_was(record):
    trace = record("def f(x):\n    out = {}\n    out['a'] = [x]\n    out['a'][0] = 2\n    return out\n", 1)
    assert [e.value for e in trace.events if isinstance(e.value, dict)] == [{}, {}, {"a": [1]}, {"a": [2]}]


def test_a_list_that_holds_itself(record):
    trace = record("def f(x):\n    x.append(x)\n    return len(x)\n", [1])
    assert trace.result == 2
    assert first_broadcast(trace, 2) is None


def test_values_are_the_objects_themselves(record):
    array = np.zeros(2)
    trace = record("def f(x):\n    return x\n", array)
    assert trace.events[0].value is array
    assert trace.result is array


def test_keep_stores_something_else_and_changes_nothing(record):
    source = "def f(x):\n    y = x * 0\n    y[0] = 7\n    return y\n"
    seen = record(source, np.ones(2), keep=np.array)
    np.testing.assert_array_equal(next(e for e in seen.events if e.kind == "binop").value, [0, 0])
    np.testing.assert_array_equal(seen.result, [7, 0])


def test_a_failing_keep_does_not_disturb(record):
    def refuse(value):
        raise TypeError(f"no {value}")

    trace = record("def f(x):\n    return x + 1\n", 1, keep=refuse)
    assert trace.result == 2
    assert trace.events == ()
    assert any("no 2" in reason for reason in trace.blind)


def test_a_limit_ends_the_recording_and_not_the_run(record):
    trace = record(
        "def f(n):\n    total = 0\n    for k in range(n):\n        total += k\n    return total\n", 50, limit=20
    )
    assert trace.result == sum(range(50))
    assert trace.truncated
    assert len(trace.events) == 20


def test_no_hook_of_a_value_is_called(record):
    class Touchy:
        def __getattribute__(self, name):
            raise AssertionError(f"asked for {name}")

        __bool__ = __eq__ = __len__ = __iter__ = __repr__ = __getattribute__
        __hash__ = None

    value = Touchy()
    trace = record("def f(x):\n    return [x, (x, x)][0]\n", value)
    assert trace.error is None
    assert trace.result is value


@pytest.mark.parametrize(
    ("source", "expression", "operands"),
    [
        ("def f(x):\n    return (x + 1) @ x\n", "(x + 1) @ x", ["x + 1", "x"]),
        ("def f(x):\n    return g(x)\ndef g(y):\n    return [y[k] for k in (0, 9)]\n", "y[k]", ["y", "k"]),
        ("def f(x):\n    return x.nothing\n", "x.nothing", ["x"]),
        ("def f(x):\n    return len(x, 1)\n", "len(x, 1)", ["x", "1"]),
        ("def f(x):\n    x[0] += None\n", "x[0] += None", ["x[0]", "None"]),
        ("def f(x):\n    raise ValueError(x)\n", "raise ValueError(x)", []),
        ("def f(x):\n    return x.nothing()\n", "x.nothing", []),
    ],
)
def test_the_expression_that_failed(record, source, expression, operands):
    trace = record(source, [1.0, 2.0] if "@" not in source else np.ones((2, 3)))
    assert isinstance(trace.error, Exception)
    assert trace.result is None
    failed = trace.failed
    assert (failed.place.expression, [o.expression for o in failed.operands]) == (expression, operands)
    assert failed.value is trace.error
    assert failed.depth == (1 if "def g" in source else 0)
    assert trace.events


def test_only_exceptions_are_caught(record):
    with pytest.raises(KeyboardInterrupt):
        record("def f():\n    raise KeyboardInterrupt\n")


def test_the_code_goes_on_with_what_stands_instead(record):
    def other(event, value):
        return 10 * value if event.place.expression == "a * b" else value

    trace = record("def f(a, b):\n    part = a * b\n    return part + b\n", 2, 3, instead=other)
    assert trace.result == 10 * 6 + 3
    assert [event.value for event in trace.events if event.kind == "binop"] == [6, 63]
