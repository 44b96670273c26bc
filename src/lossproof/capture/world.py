"""The interpreter as a running script finds it: its `sys.argv`, import path and `__main__`, and ours afterwards."""

from __future__ import annotations

import builtins
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from lossproof.capture.place import relative_to

_STREAMS_AND_HOOKS = ("stdin", "stdout", "stderr", "excepthook", "displayhook")
"""What scripts replace (a `Tee` for stdout, `rich.traceback`) and we take back."""


@dataclass
class World:
    """What a script sees as its own: module, arguments, import path and working directory.

    While it is `entered`, the interpreter looks to the code inside as it does under `python SCRIPT`; outside, it is
    the host's again. It may be entered again after the script has ended, for what depends on `__main__` (pickling,
    saving of functions and classes that the script defines) or on imports from the script's folder.

    Environment variables, warning filters, signal handlers and imported modules are the process's, not the world's.
    """

    module: ModuleType
    argv: list[str]
    path: list[str]
    directory: str | None = None
    """The working directory, None for the one it is entered from."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the body in this world; whatever it changes of it is there when it is entered again."""
        host = _Host()
        try:
            with relative_to(host.directory):
                sys.modules["__main__"] = self.module
                sys.argv = self.argv
                sys.path[:] = self.path
                if self.directory is not None:
                    os.chdir(self.directory)
                yield
        finally:
            self.argv = getattr(sys, "argv", self.argv)
            self.path = list(getattr(sys, "path", self.path))
            with contextlib.suppress(FileNotFoundError):  # the script deleted the folder it stands in
                self.directory = str(Path.cwd())
            for stream in (getattr(sys, "stdout", None), getattr(sys, "stderr", None)):
                with contextlib.suppress(Exception):  # closed, a broken pipe, or an object of the script's own
                    stream.flush()  # type: ignore[union-attr]
            host.restore()


class _Host:
    """The interpreter's state as it was on creation."""

    def __init__(self) -> None:
        self.directory = str(Path.cwd())
        self._main = sys.modules.get("__main__")
        self._argv = sys.argv
        self._path, self._entries = sys.path, list(sys.path)
        self._attributes: dict[str, Any] = {name: getattr(sys, name) for name in _STREAMS_AND_HOOKS}

    def restore(self) -> None:
        with contextlib.suppress(OSError):
            os.chdir(self.directory)
        if self._main is not None:
            sys.modules["__main__"] = self._main
        sys.argv = self._argv
        sys.path = self._path
        sys.path[:] = self._entries
        for name, value in self._attributes.items():
            setattr(sys, name, value)


def script_world(given: str, args: Sequence[str]) -> World:
    """The world of `python GIVEN ARGS...`."""
    filename = os.path.join(Path.cwd(), given)  # noqa: PTH118 - as Python: absolute, but "./" and ".." are kept
    module = ModuleType("__main__")
    vars(module).update(
        __loader__=SourceFileLoader("__main__", filename),
        __spec__=None,
        __annotations__={},
        __builtins__=builtins,
        __file__=filename,
        __cached__=None,
    )
    return World(module, [given, *args], _import_path(Path(given).resolve().parent))


def notebook_world(given: str, args: Sequence[str]) -> World:
    """The world of a notebook's kernel: no `__file__`, and the working directory is the notebook's, as in Jupyter."""
    module = ModuleType("__main__")
    vars(module).update(__builtins__=builtins)
    folder = Path(given).resolve().parent
    return World(module, [given, *args], _import_path(folder), str(folder))


def _import_path(folder: Path) -> list[str]:
    """`sys.path` with the script's folder in place of the entry that Python made for the host's own script."""
    path = list(sys.path)
    own = {"", str(Path.cwd()), str(Path(sys.argv[0]).resolve().parent)}
    if path and path[0] in own and not sys.flags.safe_path:
        del path[0]
    return path if os.environ.get("PYTHONSAFEPATH") else [str(folder), *path]
