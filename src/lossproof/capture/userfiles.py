"""Which files are the user's: where a finding may point, and which frames of a stack count as the user's code."""

# The file names of code are strings, and some name no file (`<string>`): no pathlib here.
# ruff: noqa: PTH100, PTH110, PTH118

from __future__ import annotations

import linecache
import os
import re
import sys
import sysconfig
from functools import lru_cache
from types import CellType

_CELL = re.compile(r"(?P<notebook>.+) cell (?P<number>\d+)", re.DOTALL)

_INSTALLED = ("site-packages", "dist-packages")
"""Folders of installed packages, of this interpreter or of another (a `.venv` inside the project)."""

_GENERATED = ("__autograph_generated_file", "torchinductor_")
"""How files and folders of code that TensorFlow and PyTorch generate in the temporary folder begin."""

_FRAMEWORKS = ("lossproof", "keras", "tensorflow", "torch", "jax", "jaxlib")
"""Packages that stay foreign even where they are installed in editable mode, outside of site-packages."""


def cell_filename(notebook: str, number: int) -> str:
    """The file name that the code of a notebook's cell is compiled under; cells count from 1."""
    return f"{notebook} cell {number}"


def split_cell(filename: str) -> tuple[str, int] | None:
    """The notebook and the cell number of a `cell_filename`, None for any other file name."""
    match = _CELL.fullmatch(filename)
    return (match["notebook"], int(match["number"])) if match else None


@lru_cache(maxsize=4096)
def is_user_file(filename: str) -> bool:
    """Whether code of this file (`co_filename`) was written by the user rather than installed or generated.

    Everything is the user's except the standard library, installed packages (also those of an environment inside the
    user's project), installed commands, Keras and its backends and lossproof wherever they lie, and what is no file
    at all (`<string>`, `<frozen ...>`, the `.pyx` names of compiled extensions). Cells of notebooks are the user's. A
    project that lies under `sys.prefix` (/usr/src/app, an environment made in the project folder itself) is the
    user's too: only the folders that the interpreter installs to are not.
    """
    if split_cell(filename) is not None:
        return True
    if filename.startswith("<"):
        return filename.startswith("<ipython-input-")
    if not os.path.exists(filename) and filename not in linecache.cache:
        return False
    return not any(_is_foreign(path) for path in {os.path.abspath(filename), os.path.realpath(filename)})


def _is_foreign(path: str) -> bool:
    parts = path.replace(os.sep, "/").split("/")
    if any(part in _INSTALLED or part.startswith(_GENERATED) for part in parts):
        return True
    return any(_lies_in(path, root) for root in (*_interpreter_folders(), *_framework_folders()))


def _lies_in(path: str, folder: str) -> bool:
    return os.path.normcase(path).startswith(os.path.join(os.path.normcase(folder), ""))


@lru_cache(maxsize=1)
def _interpreter_folders() -> frozenset[str]:
    """Where this interpreter keeps its standard library, packages and commands."""
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")}
    return frozenset(folders | {os.path.realpath(folder) for folder in folders})


def _framework_folders() -> set[str]:
    # Read anew each time: what runs code is imported, but perhaps only since the last question.
    folders = {
        os.path.abspath(folder)
        for name in _FRAMEWORKS
        if (module := sys.modules.get(name)) is not None
        for folder in getattr(module, "__path__", ())  # a plain `torch.py` of the user has none
    }
    return folders | {os.path.realpath(folder) for folder in folders}


def is_user_function(function: object) -> bool:
    """Whether a function (below `functools.wraps`, `partial` and bound methods) is defined in a user's file."""
    for attribute in ("func", "__func__", "__wrapped__"):
        function = getattr(function, attribute, function)
    code = getattr(function, "__code__", None)
    return code is not None and is_user_file(code.co_filename)


def holds_user_function(function: object) -> bool:
    """Whether a function is the user's, or one that a decorator made around a function of the user's."""
    if is_user_function(function):
        return True
    cells = getattr(function, "__closure__", None) or ()
    return any(is_user_function(cell.cell_contents) for cell in cells if _filled(cell))


def _filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading it is the question
    except ValueError:
        return False
    return True
