"""An instrumented function does what the original does, whatever its syntax."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from lossproof.lab.localize.recorder import Recorder

FILE = Path(__file__).with_name("snippets.py")
SOURCE = FILE.read_text(encoding="utf-8")
LINES = SOURCE.split("\n")
TREE = ast.parse(SOURCE)
SNIPPETS = [
    node.name
    for node in TREE.body
    if isinstance(node, ast.FunctionDef) and node.args.args[0].arg == "log" and node.name not in ("tick", "named")
]


@cache
def expressions() -> set[tuple[int, int, str]]:
    """Line, column and text of all expressions, by Python's own idea of what stands where."""
    found = set()
    for node in ast.walk(TREE):
        if isinstance(node, ast.expr | ast.AugAssign):
            lines = LINES[node.lineno - 1 : node.end_lineno]
            column = len(lines[0].encode()[: node.col_offset].decode())
            # `get_source_segment` splits all that it is given, so it is given no more than the node's lines.
            span = SimpleNamespace(lineno=1, end_lineno=len(lines), col_offset=node.col_offset)
            span.end_col_offset = node.end_col_offset
            found.add((node.lineno, column, ast.get_source_segment("\n".join(lines), span)))
    return found


def is_snippet_file(file: str) -> bool:
    return file == str(FILE)


@pytest.mark.parametrize("name", SNIPPETS)
def test_result_effects_and_exceptions_are_the_same(name, load, outcome):
    # One module each, so that neither run sees the globals and defaults that the other has changed.
    original, recorder = load(FILE), Recorder(is_snippet_file)
    instrumented = load(FILE)
    twin = recorder.traced(getattr(instrumented, name))
    assert twin is not getattr(instrumented, name)
    expected, got = outcome(getattr(original, name), str(FILE)), outcome(twin, str(FILE))
    # Num and other objects are compared by value within one module.
    assert repr_of(got) == repr_of(expected)
    assert recorder.events or name == "unbound_update"  # which fails before anything has a value
    assert recorder.blind == ()


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_twin_leaves_no_name_behind(name, load, outcome):
    module = load(FILE)
    function = getattr(module, name)
    before, own = set(vars(module)) | {"CREATED"}, dict(vars(function))
    outcome(Recorder(is_snippet_file).traced(function), str(FILE))
    assert set(vars(module)) | {"CREATED"} == before
    assert vars(function) == own
    assert getattr(module, name) is function


@pytest.mark.parametrize("name", SNIPPETS)
def test_events_stand_where_their_text_stands(name, load, outcome):
    nodes = expressions()
    recorder = Recorder(is_snippet_file)
    outcome(recorder.traced(getattr(load(FILE), name)), str(FILE))
    for event in recorder.events:
        place = event.place
        assert (place.line, place.column, place.expression) in nodes
        assert place.source == LINES[place.line - 1]
        first = place.expression.split("\n")[0]
        assert place.source[place.column : place.end_column] == first
        for operand in event.operands:
            assert (operand.line, operand.column, operand.expression) in nodes
            assert LINES[operand.line - 1][operand.column : operand.end_column] == operand.expression.split("\n")[0]
        starts = [(operand.line, operand.column) for operand in event.operands]
        assert starts == sorted(starts)


@pytest.mark.parametrize("name", SNIPPETS)
def test_an_event_follows_its_operands(name, load, outcome):
    recorder = Recorder(is_snippet_file)
    outcome(recorder.traced(getattr(load(FILE), name)), str(FILE))
    values = defaultdict(list)
    for event in recorder.events:
        for operand in event.operands:
            if not is_literal(operand.expression):
                earlier = values[operand.line, operand.column, operand.expression]
                assert any(value is operand.value for value in earlier)
        values[event.place.line, event.place.column, event.place.expression].append(event.value)


def is_literal(expression: str) -> bool:
    try:
        ast.literal_eval(f"({expression}\n)")
    except ValueError:
        return False
    return True


def test_snippets_cover_the_syntax():
    # Every kind of statement and expression of the running Python, but for what a loss cannot hold.
    covered = {type(node).__name__ for node in ast.walk(TREE)}
    known = {
        name
        for name, kind in inspect.getmembers(ast, inspect.isclass)
        if issubclass(kind, ast.expr | ast.stmt) and kind not in (ast.expr, ast.stmt)
    }
    deprecated = {"Num", "Str", "Bytes", "NameConstant", "Ellipsis"}
    newer = {"TypeAlias", "TemplateStr", "Interpolation"}  # not in Python 3.11
    assert known - covered - deprecated - newer == set()
    assert len(SNIPPETS) >= 40


def repr_of(outcome) -> str:
    return repr(simplified((outcome.result, outcome.error, outcome.log)))


def simplified(value):
    if type(value).__name__ == "Num":
        return ("Num", value.value)
    if isinstance(value, tuple | list):
        return [type(value).__name__, *map(simplified, value)]
    return sorted(value.items()) if isinstance(value, dict) else value
