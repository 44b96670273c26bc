"""Runs a script in this process as `python SCRIPT ARGS...` would, and tells how it ended."""

from __future__ import annotations

import contextlib
import inspect
import io
import linecache
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType

from lossproof.capture.failure import as_python_prints, place_of_error, related, without_our_frames
from lossproof.capture.threads import wait_for_threads
from lossproof.capture.world import World, script_world
from lossproof.findings.finding import Place


class EnoughSeen(BaseException):
    """Raised by a hook to end a script early; a thread of the script that it ends says nothing."""


class End(StrEnum):
    """How a script ended."""

    FINISHED = "finished"
    """It ran to its end."""
    EXITED = "exited"
    """By SystemExit."""
    STOPPED = "stopped"
    """By `EnoughSeen`, or by what the script made of it (an error in its `finally`)."""
    RAISED = "raised"
    """By an exception that nothing caught."""
    INTERRUPTED = "interrupted"
    """By KeyboardInterrupt."""


@dataclass(frozen=True)
class Outcome:
    """How a script ended, and what it left."""

    end: End
    status: int
    """The exit status of `python SCRIPT` (130 after an interrupt, as shells say; 0 where we stopped it)."""
    world: World
    code: object = None
    """The argument of `sys.exit`, where that ended it."""
    exception: BaseException | None = None
    """What ended it, frames of ours removed; None unless it raised or was interrupted."""
    traceback: str | None = None
    """What Python would have written to stderr for the exception."""
    where: Place | None = None
    """The innermost place in the user's files that the exception passed through."""
    threads: tuple[str, ...] = ()
    """Names of non-daemon threads that still run the user's code. The interpreter will not exit before they end."""
    notices: tuple[str, ...] = ()
    """What was left out, for the user to know (shell lines of a notebook)."""

    @property
    def module(self) -> ModuleType:
        """The script's `__main__`, its namespace alive."""
        return self.world.module

    @property
    def stopped_early(self) -> bool:
        """Whether a hook ended the script by `EnoughSeen`."""
        return self.end is End.STOPPED


def run_script(path: str | os.PathLike[str], args: Sequence[str] = (), *, patience: float | None = None) -> Outcome:
    """Run a script as `python PATH ARGS...` would: `__main__`, `sys.argv`, import path, working directory, exit.

    Its traceback is returned, not printed; the text of `sys.exit("text")` is printed to stderr. At the end the
    interpreter's state is the caller's again (see `World`); functions registered with `atexit` are left to the
    interpreter's exit. Non-daemon threads that run the user's code are waited for, as Python does.

    Not as under Python: `sys.getrecursionlimit()` is raised by the depth of the caller's stack, so that scripts can
    recurse as deep as they are used to; a `sys.excepthook` of the script is not called; a module of the script's
    folder with the name of one that is imported already (`rich`, `numpy`) does not take its place. `os._exit` and
    `os.exec*` end this process. A process that the script forks, and that reaches the end of the script, exits there.

    Args:
        path: The script; a string is passed on to `sys.argv[0]` as it is.
        args: `sys.argv[1:]`.
        patience: Seconds to wait for threads; None to wait as long as they run.

    Raises:
        OSError: The file cannot be read.
    """
    given = os.fspath(path)
    content = Path(given).read_bytes()
    world = script_world(given, args)
    filename = world.module.__file__ or given
    with contextlib.suppress(SyntaxError, UnicodeDecodeError):  # which compiling it reports
        serve_source(filename, decode_source(content))

    def execute() -> None:
        _refuse_unmarked_encoding(content, filename)
        exec(compile(content, filename, "exec", dont_inherit=True), vars(world.module))

    return run_in(world, execute, as_python_prints, patience)


def run_in(
    world: World, execute: Callable[[], None], as_text: Callable[[BaseException], str], patience: float | None
) -> Outcome:
    """Run `execute` in a world and tell how it ended; see `run_script`.

    Args:
        world: What the code sees as its own.
        execute: Compiles and executes the user's code.
        as_text: The traceback of an exception.
        patience: Seconds to wait for threads; None to wait as long as they run.
    """
    process, threads = os.getpid(), threading.enumerate()
    code = exception = text = where = None
    with world.entered(), _quiet_threads():
        error = _caught(execute)
        end, status = _end(error)
        if error is not None and end in (End.RAISED, End.INTERRUPTED):
            without_our_frames(error)
            exception, text, where = error, as_text(error), place_of_error(error)
        elif isinstance(error, SystemExit) and end is End.EXITED:
            code = error.code
            _say_exit(code)
        if os.getpid() != process:
            _leave_fork(text, status)
        # After an end that it did not come to by itself, a thread may wait for ever for what the script would do next.
        left = wait_for_threads(threads, 0.0 if end in (End.STOPPED, End.INTERRUPTED) else patience)
    return Outcome(end, status, world, code, exception, text, where, left)


def serve_source(filename: str, text: str) -> None:
    """Let tracebacks and `inspect.getsource` read this text for a file, whatever becomes of the file meanwhile."""
    lines = io.StringIO(text).readlines()
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    linecache.cache[filename] = (len(text), None, lines, filename)  # no time of modification: never checked


def _caught(execute: Callable[[], None]) -> BaseException | None:
    """Execute; the exception is returned, so that nothing that follows runs in an `except` and becomes its context."""
    frame = inspect.currentframe()
    depth = 1 if sys.version_info >= (3, 12) else 2  # of `execute`; until 3.11 the call of `exec` counts, too
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    limit = sys.getrecursionlimit()
    raised = limit + depth
    sys.setrecursionlimit(raised)
    try:
        execute()
    except BaseException as error:  # all of them end a script
        return error
    finally:
        if sys.getrecursionlimit() == raised:  # else the script chose another, which its functions need later, too
            sys.setrecursionlimit(limit)
    return None


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """Do not report `EnoughSeen` as the error of a thread."""
    report = threading.excepthook

    def report_errors(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.exc_value, EnoughSeen):
            report(args)

    threading.excepthook = report_errors
    try:
        yield
    finally:
        threading.excepthook = report


def _end(error: BaseException | None) -> tuple[End, int]:
    if error is None:
        return End.FINISHED, 0
    if any(isinstance(one, EnoughSeen) for one in related(error)):
        return End.STOPPED, 0
    if isinstance(error, SystemExit):
        code = error.code
        if isinstance(code, int):
            return End.EXITED, code & 0xFF if -(2**63) <= code < 2**63 else 0xFF
        return End.EXITED, 0 if code is None else 1
    return (End.INTERRUPTED, 130) if isinstance(error, KeyboardInterrupt) else (End.RAISED, 1)


def _say_exit(code: object) -> None:
    if code is not None and not isinstance(code, int):
        text = ""
        with contextlib.suppress(Exception):  # a `__str__` that fails: Python exits all the same
            text = str(code)
        with contextlib.suppress(Exception):  # a closed stderr
            sys.stderr.write(f"{text}\n")


def _leave_fork(text: str | None, status: int) -> None:
    """End a process that the script forked: the caller's work is its parent's."""
    with contextlib.suppress(Exception):
        sys.stderr.write(text or "")
        sys.stderr.flush()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(status)


def _refuse_unmarked_encoding(content: bytes, filename: str) -> None:
    """Say of a file that is not UTF-8 what `python SCRIPT` says; `compile` names neither the file nor the cure."""
    start = None
    try:
        content.decode()
    except UnicodeDecodeError as error:
        start = error.start
    declared = any(re.match(rb"[ \t\f]*#.*?coding[:=]", line) for line in content.split(b"\n")[:2])  # PEP 263
    if start is not None and not declared:
        line = content.count(b"\n", 0, start) + 1
        raise SyntaxError(
            f"Non-UTF-8 code starting with '\\x{content[start]:02x}' in file {filename} on line {line}, "
            "but no encoding declared; see https://peps.python.org/pep-0263/ for details"
        )
