"""Finds the source of a code object, and the same code with a probe in it.

A source is accepted only if it compiles to exactly the code that runs: a file that was edited since, or was rewritten
by an import hook, says nothing certain about the running function.
"""

from __future__ import annotations
import __future__

import ast
import linecache
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Any

from lossproof.lab.localize.expressions import PLACEHOLDER
from lossproof.lab.localize.instrument import Instrumenter
from lossproof.lab.localize.sites import Site, Text

_FUTURES = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})


class NoSource(Exception):  # noqa: N818  as KeyError's kin, it answers a question
    """The source of a function cannot be had; the message says why."""


@dataclass(frozen=True, eq=False)
class Script:
    """One source text, instrumented. Shared by all probes."""

    text: Text
    sites: tuple[Site, ...]
    codes: Mapping[tuple[str, int], tuple[tuple[CodeType, CodeType], ...]] = field(repr=False)
    """Per name and first line: the code as Python compiles it, and the same with placeholders for the probe."""


def instrumented(code: CodeType, namespace: dict[str, Any]) -> tuple[Script, CodeType]:
    """The script that a code object comes from, and its instrumented counterpart.

    Args:
        code: The code of a function.
        namespace: The function's globals, which may know how its module was loaded.

    Raises:
        NoSource: If there is no source, or it is not the source of this code.
    """
    flags = code.co_flags & _FUTURES
    reason = "there is no source"
    for stale in (False, True):
        if stale:
            linecache.checkcache(code.co_filename)
        text = "".join(linecache.getlines(code.co_filename, namespace))
        if not text:
            continue
        try:
            script = _script(code.co_filename, text, flags)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = f"its source cannot be compiled ({type(error).__name__})"
            continue
        for plain, probed in script.codes.get((code.co_name, code.co_firstlineno), ()):
            if _same(plain, code):
                return script, probed
        reason = "the source text is not what runs: the file was edited since, or an import hook rewrote it"
    raise NoSource(reason)


def filled(code: CodeType, probe: object) -> CodeType:
    """A copy of instrumented code that reports to `probe`."""
    constants = [filled(one, probe) if isinstance(one, CodeType) else one for one in code.co_consts]
    return code.replace(co_consts=tuple(probe if _is_placeholder(one) else one for one in constants))


def within(code: CodeType) -> Iterator[CodeType]:
    """A code object and all that are nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from within(constant)


def _is_placeholder(constant: object) -> bool:
    return type(constant) is str and constant == PLACEHOLDER


@lru_cache(maxsize=256)
def _script(file: str, source: str, flags: int) -> Script:
    text = Text(file, source)
    options = flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # notebook cells may await
    with warnings.catch_warnings(action="ignore"):  # Python warned of this source when it was first compiled
        plain = compile(source, file, "exec", options, dont_inherit=True)
        tree = compile(source, file, "exec", options | ast.PyCF_ONLY_AST, dont_inherit=True)
        instrumenter = Instrumenter(text)
        probed = compile(instrumenter.visit(tree), file, "exec", options, dont_inherit=True)
    counterparts = _by_extent(probed)
    codes: dict[tuple[str, int], list[tuple[CodeType, CodeType]]] = defaultdict(list)
    for key, one in _by_extent(plain).items():
        other = counterparts.get(key)
        if one is not None and other is not None and one.co_freevars == other.co_freevars:
            codes[one.co_name, one.co_firstlineno].append((one, other))
    return Script(text, tuple(instrumenter.sites), {key: tuple(two) for key, two in codes.items()})


def _by_extent(code: CodeType) -> dict[tuple[object, ...], CodeType | None]:
    """Code objects by qualified name and the part of the source that they span, which instrumenting keeps.

    None stands where two different ones share both.
    """
    found: dict[tuple[object, ...], CodeType | None] = {}
    for one in within(code):
        spans = [(line, column) for _, line, _, column in one.co_positions() if line is not None and column is not None]
        key = (one.co_qualname, one.co_firstlineno, max(spans, default=None))
        found[key] = one if key not in found or found[key] == one else None
    return found


def _same(a: CodeType, b: CodeType) -> bool:
    """Whether two code objects were compiled from the same text at the same place."""
    return (
        a.co_qualname == b.co_qualname
        and a.co_code == b.co_code
        and a.co_names == b.co_names
        and a.co_varnames == b.co_varnames
        and a.co_freevars == b.co_freevars
        and a.co_cellvars == b.co_cellvars
        and a.co_linetable == b.co_linetable
        and a.co_exceptiontable == b.co_exceptiontable
        and _same_constant(a.co_consts, b.co_consts)
    )


def _same_constant(a: object, b: object) -> bool:
    if isinstance(a, CodeType) and isinstance(b, CodeType):
        return _same(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same_constant, a, b))
    return a == b if isinstance(a, frozenset) else repr(a) == repr(b)
