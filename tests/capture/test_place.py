from __future__ import annotations

import functools
import sys
import threading
from pathlib import Path

import pytest

from lossproof.capture.place import place_of_frame, place_of_function, relative_to, user_place
from lossproof.capture.script import run_script


def here():
    return user_place()


# Executing frames ----------------------------------------------------------------------------------------------


@pytest.fixture
def placed(write):
    """Runs a script that may call `here()`; returns the places that it saw."""

    def placed(source):
        places = []
        write({"train.py": source})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("builtins.here", library_function(places), raising=False)
            assert run_script("train.py").exception is None
        return places

    return placed


def library_function(places):
    """`here`, as a function of code that is not the user's."""
    namespace = {"user_place": user_place, "places": places}
    exec(compile("def here(*args):\n    places.append(user_place())\n    return 0", "<library>", "exec"), namespace)
    return namespace["here"]


def marked(source):
    """The source without its marks, and line, column and end column of what stood between « and »."""
    before, rest = source.split("«")
    inside = rest.split("»")[0]
    line = before.count("\n") + 1
    column = len(before.rpartition("\n")[2])
    first = inside.partition("\n")[0]
    return source.replace("«", "").replace("»", ""), (line, column, column + len(first), inside)


@pytest.mark.parametrize(
    ("source", "scope"),
    [
        ("x = 1\n«here()»\n", None),
        ("x = 1 + «here( 1 )» * 2\n", None),
        ("def f(x):\n    return [x, «here(x)»]\n\nf(1)\n", "f"),
        (
            "class A:\n    def fit(self):\n        def inner(): «here()»\n        inner()\n\nA().fit()\n",
            "A.fit.<locals>.inner",
        ),
        ("text = 'größe'; y = «here('ß', text)» or 'ß'\n", None),
        ("def größe():\n\tif True:\n\t\tä = «here()»\ngröße()\n", "größe"),
        ("y = «here(\n    1,\n    'é',\n)» + 1\n", None),
        ("f = lambda: «here()»\nf()\n", "<lambda>"),
        ("y = [«here(i)» for i in range(1)]\n", "<listcomp>"),
        ("with open(__file__) as file:\n    «here(file.read())»\n", None),
        ("def f(): return here\ny = «f()(2)»\n", None),
        ("y = «max([1], key=here)»\n", None),
    ],
)
def test_the_expression_that_runs(source, scope, placed):
    source, (line, column, end_column, expression) = marked(source)

    [place] = placed(source)

    assert (place.line, place.column, place.end_column, place.expression) == (line, column, end_column, expression)
    assert (place.file, place.scope, place.cell, place.remark) == ("train.py", scope, None, None)
    assert place.source == source.split("\n")[line - 1]


def test_a_chain_over_several_lines_is_placed_at_its_call(placed):
    [place] = placed("class A:\n    def on(self): return self\n    go = here\n\n(A()\n    .on()\n    .go())\n")

    assert place.line == 7
    assert place.source == "    .go())"


def test_the_innermost_frame_of_the_users(placed):
    """Library frames between are passed over, up to the one in the user's files."""
    [place] = placed("import json\n\ndef hook(d):\n    here()\n    return d\n\njson.loads('{}', object_hook=hook)\n")
    assert place.scope == "hook"

    [place] = placed("import functools\n\ndef run():\n    functools.partial(functools.reduce, here)([1, 2])\n\nrun()\n")
    assert (place.scope, place.line) == ("run", 4)


def test_none_outside_of_the_users_files():
    """A thread that runs library code alone has no user's frame."""
    places = []
    thread = threading.Thread(target=library_function(places))
    thread.start()
    thread.join()

    assert places == [None]


def test_a_frame_of_the_library_has_a_place_too():
    frame = sys._getframe()

    place = place_of_frame(frame)

    assert place.expression == "place_of_frame(frame)"
    assert Path(place.file).name == "test_place.py"


# Definitions ---------------------------------------------------------------------------------------------------

DEFINITIONS = """
import functools
from dataclasses import dataclass

def loss(y_true, y_pred): return y_true - y_pred

def decorated(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return fn(*args)
    return wrapper

@decorated
@functools.lru_cache(
    maxsize=1
)
def cached(x):
    return x

class Größe:
    def call(self, x): return x

    class Inner:
        def call(self, x): return x

    @staticmethod
    def static(x): return x

    @classmethod
    def of(cls): return cls()

    @property
    def area(self): return 1

class Called:
    @functools.lru_cache
    def unrelated(self): pass

    def __call__(self, x): return x

class Plain: x = 1

@dataclass
class Config:
    rate: float = 0.1

def make(k):
    return lambda y, p: k * (y - p)

pair = (lambda y, p: y - p, lambda y, p: p - y)
nested = lambda a: (lambda b: a + b)
lines = lambda y, p: (
    y - p)
def \\
    odd(): pass
async def later(): pass
class Twice:
    def f(self): return 1
class Twice:
    def f(self): return 2
"""


@pytest.fixture
def defined(write):
    write({"train.py": DEFINITIONS})
    return run_script("train.py").module


@pytest.mark.parametrize(
    ("find", "line", "expression"),
    [
        (lambda m: m.loss, "def loss(y_true, y_pred): return y_true - y_pred", "loss"),
        (
            lambda m: functools.partial(functools.partial(m.loss, 1), 2),
            "def loss(y_true, y_pred): return y_true - y_pred",
            "loss",
        ),
        (lambda m: m.cached, "def cached(x):", "cached"),
        (lambda m: m.Größe().call, "    def call(self, x): return x", "call"),
        (lambda m: m.Größe.Inner().call, "        def call(self, x): return x", "call"),
        (lambda m: m.Größe, "class Größe:", "Größe"),
        (lambda m: m.Größe(), "class Größe:", "Größe"),
        (lambda m: m.Größe.Inner, "    class Inner:", "Inner"),
        (lambda m: m.Größe.static, "    def static(x): return x", "static"),
        (lambda m: m.Größe.of, "    def of(cls): return cls()", "of"),
        (lambda m: m.Größe.area, "    def area(self): return 1", "area"),
        (lambda m: m.Called(), "    def __call__(self, x): return x", "__call__"),
        (lambda m: m.Called, "class Called:", "Called"),
        (lambda m: m.make(3), "    return lambda y, p: k * (y - p)", "lambda y, p: k * (y - p)"),
        (lambda m: m.pair[0], "pair = (lambda y, p: y - p, lambda y, p: p - y)", "lambda y, p: y - p"),
        (lambda m: m.pair[1], "pair = (lambda y, p: y - p, lambda y, p: p - y)", "lambda y, p: p - y"),
        (lambda m: m.nested, "nested = lambda a: (lambda b: a + b)", "lambda a: (lambda b: a + b)"),
        (lambda m: m.nested(1), "nested = lambda a: (lambda b: a + b)", "lambda b: a + b"),
        (lambda m: m.lines, "lines = lambda y, p: (", "lambda y, p: (\n    y - p)"),
        (lambda m: m.odd, "def \\", None),
        (lambda m: m.later, "async def later(): pass", "later"),
    ],
)
def test_where_it_is_defined(find, line, expression, defined):
    place = place_of_function(find(defined))

    assert (place.file, place.source, place.expression, place.remark) == ("train.py", line, expression, None)
    assert place.line == DEFINITIONS.split("\n").index(line) + 1
    if expression is not None:
        assert line[place.column : place.end_column] == expression.split("\n")[0]


def test_a_class_without_methods_is_found_where_its_module_is(folder, write):
    """Only the module knows; so of `__main__` it is found while that is the script's."""
    write({"train.py": DEFINITIONS})
    outcome = run_script("train.py")

    with outcome.world.entered():
        assert place_of_function(outcome.module.Plain).source == "class Plain: x = 1"
        assert place_of_function(outcome.module.Config).source == "class Config:"


def test_of_two_classes_of_one_name_each_is_found(write):
    write({"train.py": "class A:\n    def f(self): return 1\nB = A\nclass A:\n    def f(self): return 2\n"})
    module = run_script("train.py").module

    assert place_of_function(module.B).line == 1
    assert place_of_function(module.A).line == 4


@pytest.mark.parametrize("fn", [len, max, int, functools.partial(print), [].append, 3, None])
def test_what_no_source_defines_has_no_place(fn):
    assert place_of_function(fn) is None


def test_without_source_the_line_is_left(write):
    write({"train.py": "exec('\\ndef made(x): return x')\nalso = eval('lambda: 1')\n"})
    module = run_script("train.py").module

    place = place_of_function(module.made)
    assert (place.file, place.line, place.scope, place.source) == ("<string>", 2, "made", None)
    assert place.remark == "the source could not be read"
    assert place_of_function(module.also).remark == "the source could not be read"


def test_an_object_that_answers_anything_is_no_riddle():
    from unittest.mock import MagicMock, Mock

    for double in (Mock(), MagicMock()):
        assert Path(place_of_function(double).file).name == "mock.py"


def test_a_wrapper_that_leads_back_to_itself_ends():
    def f():
        return 1

    f.__wrapped__ = f

    assert place_of_function(f).expression == "f"


# Paths ---------------------------------------------------------------------------------------------------------


def test_paths_are_relative_where_they_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outside = place_of_function(here).file
    assert Path(outside).is_absolute()
    assert Path(outside) == Path(__file__)

    with relative_to(str(Path(__file__).parent)):
        assert place_of_function(here).file == "test_place.py"
    with relative_to(str(Path(__file__).parents[1])):
        assert place_of_function(here).file == str(Path("capture/test_place.py"))


def test_paths_through_links_are_relative_too(tmp_path, monkeypatch):
    """The shell's working directory may be a link; Python reports where it leads."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real/train.py").write_text("def f(): pass\n")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "link")

    module = run_script(str(tmp_path / "link/train.py")).module

    assert place_of_function(module.f).file == "train.py"
