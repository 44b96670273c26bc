"""An instrumented function does what the original does, whatever its syntax."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from lossproof.lab.localize.recorder import Recorder

FILE = Path(__file__).with_name("snippets.py")
TREE = ast.parse(FILE.read_text(encoding="utf-8"))
SNIPPETS = [
    node.name
    for node in TREE.body
    if isinstance(node, ast.FunctionDef) and node.args.args[0].arg == "log" and node.name != "tick"
]


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
    assert recorder.events
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
    # The reference is Python's own idea of what stands where.
    source = FILE.read_text(encoding="utf-8")
    lines = source.split("\n")
    nodes = set()
    for node in ast.walk(TREE):
        if isinstance(node, ast.expr | ast.AugAssign):
            column = len(lines[node.lineno - 1].encode()[: node.col_offset].decode())
            nodes.add((node.lineno, column, ast.get_source_segment(source, node)))
    recorder = Recorder(is_snippet_file)
    outcome(recorder.traced(getattr(load(FILE), name)), str(FILE))
    for event in recorder.events:
        place = event.place
        assert (place.line, place.column, place.expression) in nodes
        assert place.source == lines[place.line - 1]
        first = place.expression.split("\n")[0]
        assert place.source[place.column : place.end_column] == first
        for operand in event.operands:
            assert (operand.line, operand.column, operand.expression) in nodes
            assert lines[operand.line - 1][operand.column : operand.end_column] == operand.expression.split("\n")[0]
        starts = [(operand.line, operand.column) for operand in event.operands]
        assert starts == sorted(starts)


@pytest.mark.parametrize("name", SNIPPETS)
def test_an_event_follows_its_operands(name, load, outcome):
    recorder = Recorder(is_snippet_file)
    outcome(recorder.traced(getattr(load(FILE), name)), str(FILE))
    seen = {}
    for event in recorder.events:
        for operand in event.operands:
            where = operand.line, operand.column, operand.expression
            if where in seen:  # a constant has no event of its own
                assert type(seen[where]) is type(operand.value)
        seen[event.place.line, event.place.column, event.place.expression] = event.value


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
    assert known - covered - deprecated - newer <= {"Import", "ImportFrom", "AsyncFor"}
    assert len(SNIPPETS) >= 40


def repr_of(outcome) -> str:
    return repr(simplified((outcome.result, outcome.error, outcome.log)))


def simplified(value):
    if type(value).__name__ == "Num":
        return ("Num", value.value)
    if isinstance(value, tuple | list):
        return [type(value).__name__, *map(simplified, value)]
    return sorted(value.items()) if isinstance(value, dict) else value
