"""Frames and functions as places in the user's files."""

# The file names of code are strings, and some name no file (`<string>`): no pathlib here.
# ruff: noqa: PTH109, PTH118

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from types import CodeType, FrameType, FunctionType, MethodType, TracebackType
from typing import Any

from lossproof.capture.userfiles import is_user_file, split_cell
from lossproof.findings.finding import Place

_Span = tuple[int, int, int, int]
"""First line and column, last line and the column after it: lines from 1, columns from 0 and in UTF-8 bytes."""

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_bases: list[str] = []
"""The directory that places are relative to (the last one counts); the working directory where there is none."""


@contextmanager
def relative_to(directory: str) -> Iterator[None]:
    """Make places relative to `directory` while a script runs, which may change its working directory."""
    _bases.append(directory)
    try:
        yield
    finally:
        _bases.pop()


def place_of_frame(frame: FrameType) -> Place:
    """What a frame executes right now: the line, and the expression with its columns where Python recorded them.

    An expression over several lines is given in full; its `end_column` is then the end of its first line.
    """
    return _place_of_instruction(frame.f_code, frame.f_lasti, frame.f_lineno, frame.f_globals)


def place_of_traceback(tb: TracebackType | None) -> Place | None:
    """The innermost entry of a traceback that lies in the user's files, None where there is none."""
    found = None
    while tb is not None:
        if is_user_file(tb.tb_frame.f_code.co_filename):
            found = tb
        tb = tb.tb_next
    if found is None:
        return None
    frame = found.tb_frame
    return _place_of_instruction(frame.f_code, found.tb_lasti, found.tb_lineno, frame.f_globals)


def user_place() -> Place | None:
    """What the innermost frame of the user's files executes, from the caller outwards; None if there is none."""
    here = inspect.currentframe()
    frame = here.f_back if here is not None else None
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            return place_of_frame(frame)
        frame = frame.f_back
    return None


def place_of_function(fn: object) -> Place | None:
    """Where a function, lambda, method, class or callable object is defined; None for what no Python source defines.

    Sees through `functools.partial`, bound methods, `tf.function` and whatever keeps its function in `__wrapped__`
    (`functools.wraps`, `jax.jit`). An object is defined where its class defines `__call__`, else where its class is.
    The expression is the name after `def` or `class`, or the whole lambda. Where the source cannot be read, the place
    is the line alone, and `remark` says so.
    """
    target = _unwrap(fn)
    if not isinstance(target, type) and not isinstance(getattr(target, "__code__", None), CodeType):
        call = vars(type(target)).get("__call__")
        target = call if isinstance(call, FunctionType) else type(target)
    if isinstance(target, type):
        return _place_of_class(target)
    return _place_of_code(target.__code__, getattr(target, "__globals__", None))


def shown_path(filename: str) -> str:
    """A file's path as reports show it: relative to the working directory if the file lies there, else absolute."""
    try:
        base = _bases[-1] if _bases else os.getcwd()
    except FileNotFoundError:  # the working directory was deleted
        return filename
    return _relative(filename, base)


@functools.lru_cache(maxsize=1024)
def _relative(filename: str, base: str) -> str:
    path = os.path.normpath(os.path.join(base, filename))
    for candidate, folder in ((path, base), (os.path.realpath(path), os.path.realpath(base))):
        prefix = os.path.join(folder, "")
        if candidate.startswith(prefix):
            return candidate[len(prefix) :]
    return path


def make_place(
    filename: str, lines: list[str], at: int | _Span, *, scope: str | None = None, remark: str | None = None
) -> Place:
    """A place in a file, or in a notebook's cell, from a line number or from the span of an expression.

    Args:
        filename: The file name as code objects have it.
        lines: All lines of the file; may be empty where they cannot be had.
        at: The line (from 1), or (first line, first column, last line, column after the last), columns in UTF-8 bytes.
        scope: The qualified name of the function.
        remark: Why the place is less exact than usual.
    """
    file, cell = split_cell(filename) or (filename, None)
    shown = file if file.startswith("<") else shown_path(file)
    line, start, last, end = (at, None, at, None) if isinstance(at, int) else at
    if not 0 < line <= last <= len(lines):
        return Place(shown, line, scope=scope, cell=cell, remark=remark)
    source = lines[line - 1].rstrip("\r\n")
    if start is None or end is None:
        return Place(shown, line, scope=scope, cell=cell, source=source, remark=remark)
    column = _characters(source, start)
    head, tail = source[column:], ""
    if line == last:
        head = source[column : _characters(source, end)]
    else:
        closing = lines[last - 1]
        tail = "\n" + "".join(lines[line : last - 1]) + closing[: _characters(closing, end)]
    return Place(shown, line, column, column + len(head), head + tail, scope, cell, source, remark=remark)


def _characters(line: str, offset: int) -> int:
    """A column in UTF-8 bytes as a column in characters."""
    return len(line.encode(errors="surrogatepass")[:offset].decode(errors="replace"))


def _place_of_instruction(code: CodeType, lasti: int, line: int | None, namespace: dict[str, Any]) -> Place:
    # An instruction that belongs to no expression (the end of a `with`) has an empty span, or none.
    position = next(islice(code.co_positions(), lasti // 2, None), None) if lasti >= 0 else None
    span = _span(position) if position is not None else None
    scope = None if code.co_qualname == "<module>" else code.co_qualname
    lines = linecache.getlines(code.co_filename, namespace)
    return make_place(code.co_filename, lines, span or line or code.co_firstlineno, scope=scope)


def _span(position: tuple[int | None, int | None, int | None, int | None]) -> _Span | None:
    first, last, start, end = position
    if first is None or last is None or start is None or end is None or (first, start) >= (last, end):
        return None
    return first, start, last, end


def _span_of(node: ast.expr) -> _Span:
    return node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or node.col_offset


def _unwrap(fn: Any) -> Any:
    seen: set[int] = set()
    while id(fn) not in seen and not isinstance(fn, type):
        seen.add(id(fn))
        if isinstance(fn, (functools.partial, functools.partialmethod)):
            fn = fn.func
        elif isinstance(fn, MethodType):
            fn = fn.__func__
        elif isinstance(fn, property):
            fn = fn.fget
        elif hasattr(type(fn), "python_function"):  # tf.function; asked of the type, for an object may answer anything
            fn = fn.python_function
        elif callable(wrapped := getattr(fn, "__wrapped__", None)):
            fn = wrapped
    return fn


def _place_of_code(code: CodeType, namespace: dict[str, Any] | None) -> Place:
    lines = linecache.getlines(code.co_filename, namespace)
    tree = _parse("".join(lines)) if lines else None
    first, scope = code.co_firstlineno, code.co_qualname
    remark = "the source could not be read"
    if tree is not None:
        if code.co_name == "<lambda>":
            lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda) and node.lineno == first]
            if (found := _lambda_of(code, lambdas)) is not None:
                return make_place(code.co_filename, lines, _span_of(found), scope=scope)
            remark = "several lambdas begin on this line" if lambdas else "the source has changed"
        else:
            for node in ast.walk(tree):
                if isinstance(node, _Definition) and node.name == code.co_name and _first_line(node) == first:
                    return make_place(code.co_filename, lines, _span_of_name(node, lines), scope=scope)
            remark = "the source has changed"
    return make_place(code.co_filename, lines, first, scope=scope, remark=remark)


def _first_line(node: _Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _lambda_of(code: CodeType, lambdas: list[ast.Lambda]) -> ast.Lambda | None:
    """The smallest lambda whose body holds every instruction: several may begin on one line, one inside another."""
    if len(lambdas) == 1:
        return lambdas[0]
    spans = [span for position in code.co_positions() if (span := _span(position)) is not None]
    holding = []
    for node in lambdas:
        body = _span_of(node.body)
        if spans and all(body[:2] <= span[:2] and span[2:] <= body[2:] for span in spans):
            holding.append(node)
    return max(holding, key=lambda node: _span_of(node.body)[:2]) if holding else None


def _place_of_class(cls: type) -> Place | None:
    own = f"{cls.__qualname__}."  # of the code, so that what `dataclass` and decorators made is not among them
    functions = [value.__code__ for value in vars(cls).values() if isinstance(value, FunctionType)]
    methods = [code for code in functions if code.co_qualname.startswith(own)]
    module = sys.modules.get(cls.__module__)
    filename = methods[0].co_filename if methods else getattr(module, "__file__", None)
    lines = linecache.getlines(filename) if isinstance(filename, str) else []
    tree = _parse("".join(lines)) if lines else None
    if tree is None or filename is None:
        return None
    found = [node for name, node in _classes(tree, "") if name == cls.__qualname__]
    around = [n for n in found if any(n.lineno <= code.co_firstlineno <= (n.end_lineno or 0) for code in methods)]
    if not found:
        return None
    node = (around or found)[-1]  # of several with one name, the last is what the name means
    return make_place(filename, lines, _span_of_name(node, lines), scope=cls.__qualname__)


def _classes(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """The classes below a node with their qualified names, in the order of the source."""
    for child in ast.iter_child_nodes(node):
        inner = prefix
        if isinstance(child, ast.ClassDef):
            yield prefix + child.name, child
            inner = f"{prefix}{child.name}."
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{prefix}{child.name}.<locals>."
        yield from _classes(child, inner)


def _span_of_name(node: _Definition, lines: list[str]) -> int | _Span:
    line = lines[node.lineno - 1]
    keyword = re.compile(r"(?:async\s+)?(?:def|class)\s+").match(line, _characters(line, node.col_offset))
    if keyword is None or not line.startswith(node.name, keyword.end()):
        return node.lineno  # the name stands on another line, after a backslash
    start = len(line[: keyword.end()].encode(errors="surrogatepass"))
    return node.lineno, start, node.lineno, start + len(node.name.encode())


@functools.lru_cache(maxsize=16)
def _parse(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):  # the interpreter has told the user already
            return ast.parse(source)
    except (SyntaxError, ValueError):
        return None
