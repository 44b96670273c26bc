"""The exception that ends a script, as Python itself would show it: without the frames of this package."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from lossproof.capture.place import make_place, place_of_traceback
from lossproof.capture.userfiles import is_user_file
from lossproof.findings.finding import Place

_OURS = str(Path(__file__).parent) + os.sep
"""Frames of files in here stand between the user's frames and Keras's, and are not shown."""

_IMPORT_SYSTEM = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


def related(error: BaseException) -> Iterator[BaseException]:
    """The exception, its causes, contexts and members of groups, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def without_our_frames(error: BaseException) -> None:
    """Take the frames of this package out of the tracebacks of an exception and of all `related` ones, in place."""
    for one in related(error):
        one.__traceback__ = _filtered(one.__traceback__)


def _filtered(tb: TracebackType | None) -> TracebackType | None:
    kept: list[TracebackType] = []
    while tb is not None:
        if tb.tb_frame.f_code.co_filename.startswith(_OURS):
            # Python leaves out the import system's own frames, unless an import hook of ours stands between them.
            while kept and kept[-1].tb_frame.f_code.co_filename in _IMPORT_SYSTEM:
                kept.pop()
        else:
            kept.append(tb)
        tb = tb.tb_next
    rebuilt = None
    for entry in reversed(kept):
        rebuilt = TracebackType(rebuilt, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return rebuilt


def as_python_prints(error: BaseException) -> str:
    """What the interpreter writes to stderr for an uncaught exception (an excepthook of the script is not asked)."""
    written = io.StringIO()
    with contextlib.redirect_stderr(written):
        sys.__excepthook__(type(error), error, error.__traceback__)
    return written.getvalue()


def as_notebook_prints(error: BaseException) -> str:
    """The same for code without a file of its own: until 3.13 the interpreter itself shows no lines of it."""
    return "".join(traceback.format_exception(error))


def place_of_error(error: BaseException) -> Place | None:
    """The innermost place in the user's files that the exception passed through; of a SyntaxError, the wrong code."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno and is_user_file(error.filename):
        place = make_place(error.filename, [], error.lineno)
        column = error.offset - 1 if error.offset else None
        return replace(place, column=column, source=(error.text or "").rstrip("\r\n") or None)
    return place_of_traceback(error.__traceback__)
