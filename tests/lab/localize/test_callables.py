"""Every kind of callable a loss may be, and what is said where nothing can be seen."""

from __future__ import annotations
import __future__

import functools
import linecache
import os
import sys

import numpy as np
import pytest

from lossproof.capture.userfiles import cell_filename
from lossproof.lab.localize import recorder as recorder_module
from lossproof.lab.localize.recorder import Recorder

SOURCE = """
import functools
import lossproof_test_sibling

calls = 0

def error(y_true, y_pred):
    global calls
    calls += 1
    return y_true - y_pred

def plain(y_true, y_pred):
    return error(y_true, y_pred) ** 2

def scaled(y_true, y_pred, scale, *, power=2):
    return scale * error(y_true, y_pred) ** power

half = functools.partial(scaled, scale=0.5, power=1)
nested = functools.partial(half, power=3)

def closure(weight):
    count = 0
    def loss(y_true, y_pred):
        nonlocal count
        count += 1
        return weight * error(y_true, y_pred) + count
    return loss, lambda: count

first, second = lambda t, p: error(t, p) + 1, lambda t, p: error(t, p) + 2
pair = [lambda t, p: (lambda: error(t, p) * 3)(), lambda t, p: (lambda: error(t, p) * 4)()]

class Methods:
    scale = 2
    def bound(self, y_true, y_pred):
        return self.scale * error(y_true, y_pred)
    @classmethod
    def of_class(cls, y_true, y_pred):
        return cls.scale * error(y_true, y_pred)
    @staticmethod
    def static(y_true, y_pred):
        return 2 * error(y_true, y_pred)
    def __call__(self, y_true, y_pred):
        return self.bound(y_true, y_pred) + self.of_class(y_true, y_pred) + self.static(y_true, y_pred)

class Child(Methods):
    def __call__(self, y_true, y_pred):
        return super().__call__(y_true, y_pred) + Methods.bound(self, y_true, y_pred)

def twice(function):
    @functools.wraps(function)
    def wrapper(*args):
        return 2 * function(*args)
    return wrapper

@twice
def decorated(y_true, y_pred):
    return error(y_true, y_pred) * 5

class Memo:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function
    def __call__(self, *args):
        return self.function(*args)

@Memo
def by_class(y_true, y_pred):
    return error(y_true, y_pred) * 6

def imported(y_true, y_pred):
    return lossproof_test_sibling.distance(y_true, y_pred)

def dynamic(y_true, y_pred):
    table = {"a": error}
    chosen = (lambda f: f)(error)(y_true, y_pred)
    return getattr(Methods(), "bound")(y_true, y_pred) + table["a"](y_true, y_pred) + chosen
"""
SIBLING = "def distance(a, b):\n    return abs(a - b)\n"
Y_TRUE, Y_PRED = np.array([1.0, 5.0]), np.array([4.0, 1.0])


@pytest.fixture
def module(load, tmp_path, monkeypatch):
    (tmp_path / "lossproof_test_sibling.py").write_text(SIBLING, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield load(SOURCE)
    sys.modules.pop("lossproof_test_sibling", None)


@pytest.fixture
def recorder(tmp_path):
    return Recorder(lambda file: os.path.dirname(file) == str(tmp_path))  # noqa: PTH120  files may be pseudo


KINDS = {
    "function": lambda m: m.plain,
    "partial": lambda m: m.half,
    "partial of a partial": lambda m: m.nested,
    "closure": lambda m: m.closure(3)[0],
    "first lambda of a line": lambda m: m.first,
    "second lambda of a line": lambda m: m.second,
    "lambda with an inner one": lambda m: m.pair[0],
    "its neighbour": lambda m: m.pair[1],
    "bound method": lambda m: m.Methods().bound,
    "class method": lambda m: m.Methods.of_class,
    "static method": lambda m: m.Methods.static,
    "static method of an object": lambda m: m.Methods().static,
    "callable object": lambda m: m.Methods(),
    "callable object with super": lambda m: m.Child(),
    "decorated by a function": lambda m: m.decorated,
    "decorated by a class": lambda m: m.by_class,
    "calling another module": lambda m: m.imported,
    "calling what it computes": lambda m: m.dynamic,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_and_is_looked_into(kind, module, recorder):
    function = KINDS[kind](module)
    trace = recorder.trace(function, Y_TRUE, Y_PRED)
    if kind != "closure":  # which counts its calls
        np.testing.assert_array_equal(trace.result, function(Y_TRUE, Y_PRED))
    assert (trace.error, trace.blind) == (None, ())
    differences = [e for e in trace.events if e.place.expression in ("y_true - y_pred", "a - b")]
    assert differences, "the callee was not looked into"
    for event in differences:
        np.testing.assert_array_equal(event.value, [-3.0, 4.0])


@pytest.mark.parametrize(
    ("name", "column", "expression"), [("first", 29, "error(t, p) + 1"), ("second", 59, "error(t, p) + 2")]
)
def test_the_right_lambda_of_a_line(name, column, expression, module, recorder):
    trace = recorder.trace(getattr(module, name), Y_TRUE, Y_PRED)
    last = trace.events[-1]
    assert (last.place.expression, last.place.column, last.place.scope) == (expression, column, "<lambda>")


def test_cells_are_shared_with_the_original(module, recorder):
    loss, count = module.closure(3)
    twin = recorder.traced(loss)
    loss(Y_TRUE, Y_PRED)
    twin(Y_TRUE, Y_PRED)
    loss(Y_TRUE, Y_PRED)
    assert count() == 3
    assert module.calls == 3


def test_a_twin_looks_like_the_original(module, recorder):
    import inspect

    module.scaled.note = module.half.note = "mine"
    assert recorder.traced(module.half).note == "mine"
    twin = recorder.traced(module.scaled)
    assert twin is not module.scaled
    assert inspect.signature(twin) == inspect.signature(module.scaled)
    assert twin.note == "mine"
    for name in (
        "__name__",
        "__qualname__",
        "__module__",
        "__doc__",
        "__globals__",
        "__kwdefaults__",
        "__annotations__",
    ):
        assert getattr(twin, name) == getattr(module.scaled, name)


def test_a_traced_twin_is_left_as_it_is(module, recorder):
    twin = recorder.traced(module.plain)
    assert recorder.trace(twin, Y_TRUE, Y_PRED).result.tolist() == [9.0, 16.0]
    assert sum(e.place.expression == "y_true - y_pred" for e in recorder.events) == 1


def test_state_of_a_callable_object_is_its_own(load, tmp_path, recorder):
    module = load(
        "class Counter:\n    n = 0\n    def __call__(self, x):\n        self.n += 1\n        return x + self.n\n"
    )
    counter = module.Counter()
    twin = recorder.traced(counter)
    assert [twin(0), counter(0), twin(0)] == [1, 2, 3]
    assert vars(counter) == {"n": 3}


def test_functions_from_other_files_are_called_and_not_looked_into(load, module, tmp_path):
    recorder = Recorder(lambda file: file == module.__file__)
    trace = recorder.trace(module.imported, Y_TRUE, Y_PRED)
    np.testing.assert_array_equal(trace.result, [3.0, 4.0])
    assert [e.place.expression for e in trace.events] == [
        "y_true",
        "y_pred",
        "lossproof_test_sibling.distance(y_true, y_pred)",
    ]
    assert trace.blind == ()


def test_the_default_is_what_capture_calls_the_users_files(module):
    # tmp_path is outside of everything installed.
    trace = recorder_module.trace(module.plain, Y_TRUE, Y_PRED)
    assert any(e.place.expression == "y_true - y_pred" for e in trace.events)
    assert recorder_module.trace(np.mean, Y_TRUE).events == ()


def test_a_notebook_cell(monkeypatch):
    file = cell_filename("/somewhere/lab.ipynb", 3)
    lines = ["def loss(t, p):\n", "    return (t - p) * 2\n"]
    monkeypatch.setitem(linecache.cache, file, (len("".join(lines)), None, lines, file))
    names = {}
    exec(compile("".join(lines), file, "exec"), names)
    trace = recorder_module.trace(names["loss"], 3, 1)
    place = trace.events[-1].place
    assert (place.file, place.cell, place.line, place.expression) == ("/somewhere/lab.ipynb", 3, 2, "(t - p) * 2")


def test_an_ipython_cell(monkeypatch):
    file = "<ipython-input-7-abc>"
    monkeypatch.setitem(
        linecache.cache, file, (3, None, ["from __future__ import annotations\n", "f = lambda t: t * 2\n"], file)
    )
    names = {}
    exec(compile("from __future__ import annotations\nf = lambda t: t * 2\n", file, "exec", dont_inherit=True), names)
    assert recorder_module.trace(names["f"], 3).events[-1].place.expression == "t * 2"


def test_a_cell_after_one_with_a_future_import(monkeypatch):
    # The flag goes on from cell to cell, and changes the code of annotated functions.
    source = "def f(t):\n    def g(x: t) -> t: return x * 2\n    return g(t)\n"
    file = cell_filename("/somewhere/lab.ipynb", 2)
    monkeypatch.setitem(linecache.cache, file, (len(source), None, source.splitlines(keepends=True), file))
    names = {}
    exec(compile(source, file, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True), names)
    trace = recorder_module.trace(names["f"], 3)
    assert trace.blind == ()
    assert "x * 2" in [e.place.expression for e in trace.events]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_source_with_other_line_ends(newline, monkeypatch):
    source = newline.join(["def f(t):", "    return (t", "      * 2)", ""])
    file = cell_filename("/somewhere/lab.ipynb", 2)
    monkeypatch.setitem(linecache.cache, file, (len(source), None, [source], file))
    names = {}
    exec(compile(source, file, "exec", dont_inherit=True), names)
    place = recorder_module.trace(names["f"], 3).events[-1].place
    assert (place.line, place.column, place.end_column, place.source) == (2, 12, 13, "    return (t")
    assert place.expression == "t\n      * 2"


def test_code_without_source_runs_and_says_so(module, recorder):
    exec("def made(t, p):\n    return (t - p) * 10\n", vars(module))
    trace = recorder.trace(module.made, 5, 2)
    assert (trace.result, trace.events) == (30, ())
    assert trace.blind == ("made (<string>:1): there is no source",)


def test_a_callee_without_source_runs_and_says_so(module, recorder):
    exec("def error(t, p):\n    return (t - p) * 10\n", vars(module))
    trace = recorder.trace(module.plain, 5, 2)
    assert trace.result == 900
    assert [e.place.expression for e in trace.events][-2:] == ["error(y_true, y_pred)", "error(y_true, y_pred) ** 2"]
    assert trace.blind == ("error (<string>:1): there is no source",)


@pytest.mark.parametrize(
    "edit", ["abs(x) + 2", "abs(x)  +  1", "abs(x) + 1.", "abs(x) - 1", "abs(y) + 1", "int(x) + 1"]
)
def test_a_file_that_was_edited_since(edit, load, tmp_path, recorder):
    module = load("def f(x):\n    return abs(x) + 1\n", "edited")
    path = tmp_path / "edited.py"
    path.write_text(f"def f(x):\n    return {edit}\n", encoding="utf-8")
    os.utime(path, (1, 1))  # another time of modification, so that the edit is noticed
    trace = recorder.trace(module.f, 1)
    assert (trace.result, trace.events) == (2, ())
    (reason,) = trace.blind
    assert reason.startswith("f (")
    assert "edited since" in reason


def test_a_file_that_was_edited_and_loaded_again(load, tmp_path, recorder):
    old = load("def f(x):\n    return x + 1\n", "edited")
    assert recorder.trace(old.f, 1).events  # so the old text is known
    new = load("def f(x):\n    return x + 22\n", "edited")
    trace = recorder.trace(new.f, 1)
    assert (trace.result, trace.events[-1].place.expression) == (23, "x + 22")


def test_a_deleted_file(load, tmp_path, recorder):
    module = load("def f(x):\n    return x + 1\n", "deleted")
    (tmp_path / "deleted.py").unlink()
    trace = recorder.trace(module.f, 1)
    assert (trace.result, trace.events) == (2, ())
    assert "there is no source" in trace.blind[0]


@pytest.mark.parametrize(
    "function", [len, np.mean, np.add, dict, functools.partial(len), print.__call__, np.ones(2).sum]
)
def test_what_is_not_the_users_is_called_as_it_is(function, recorder):
    assert recorder.traced(function) is function
    assert len(recorder.blind) == 1
    assert "not in the user's files" in recorder.blind[0]


def test_a_decorator_that_is_not_the_users(load, recorder):
    module = load(
        "import contextlib\n"
        "@contextlib.contextmanager\n"
        "def f(x):\n    yield x + 1\n"
        "def g(x):\n    with f(x) as y:\n        return y\n"
    )
    trace = recorder.trace(module.g, 1)
    assert trace.result == 2
    assert len(trace.blind) == 1
    assert trace.blind[0].startswith("f (")
    assert "decorator" in trace.blind[0]


def test_lru_cache_keeps_its_cache(load, recorder):
    module = load(
        "import functools\nn = 0\n"
        "@functools.lru_cache\n"
        "def g(x):\n    global n\n    n += 1\n    return x\n"
        "def f(x):\n    return g(x) + g(x)\n"
    )
    assert recorder.trace(module.f, 4).result == 8
    assert module.n == 1


def test_code_that_an_import_hook_rewrote(load, recorder):
    module = load("def f(x):\n    assert x\n    return x + 1\n")
    source = "def f(x):\n    x\n    return x + 1\n"
    exec(compile(source, module.__file__, "exec"), vars(module))
    trace = recorder.trace(module.f, 1)
    assert (trace.result, trace.events) == (2, ())
    assert "import hook" in trace.blind[0]


def test_warnings_of_the_source_are_not_repeated(load, recorder, recwarn):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = load("def f(x):\n    return x is 1, '\\d'\n")
    assert recorder.trace(module.f, 1).error is None
    assert not recwarn.list
