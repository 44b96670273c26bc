"""Runs the code cells of a Jupyter notebook as one script, and tells how it ended."""

from __future__ import annotations
import __future__

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lossproof.capture.failure import as_notebook_prints
from lossproof.capture.magics import PythonCell, as_python
from lossproof.capture.script import Outcome, run_in, serve_source
from lossproof.capture.userfiles import cell_filename
from lossproof.capture.world import notebook_world


class UnreadableNotebook(Exception):  # noqa: N818 - shown to the user as one line
    """The file is no notebook that can be run; the text is one line for the user."""


@dataclass(frozen=True)
class Cell:
    """A code cell: its number (code cells count from 1, in the order of the document) and its Python."""

    number: int
    python: PythonCell


class _Shell:
    """Stands in for IPython's shell: takes every call, does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing


def _nothing(*_: object, **__: object) -> None:
    """Stands in for `display` and the shell's methods."""


def run_notebook(path: str | os.PathLike[str], args: Sequence[str] = (), *, patience: float | None = None) -> Outcome:
    """Run a notebook's code cells one after the other in one namespace, as `run_script` runs a script.

    As in Jupyter, the working directory is the notebook's folder, modules are imported from there, and there is no
    `__file__`. `display` and `get_ipython` do nothing; magics and shell lines are left out as `as_python` describes,
    and `notices` of the outcome lists those that may be missed. A place in a cell has its number and the line in it.

    Args:
        path: The notebook.
        args: `sys.argv[1:]`.
        patience: Seconds to wait for threads; None to wait as long as they run.

    Raises:
        OSError: The file cannot be read.
        UnreadableNotebook: It is not a notebook of format 4 with code cells in Python.
    """
    given = os.fspath(path)
    cells = read_cells(given)
    world = notebook_world(given, args)
    vars(world.module).update(display=_nothing, get_ipython=_Shell)
    absolute = str(Path(given).absolute())
    for cell in cells:
        serve_source(cell_filename(absolute, cell.number), cell.python.source)

    def execute() -> None:
        futures = 0  # `from __future__ import ...` holds for the cells that follow, too
        for cell in cells:
            name = cell_filename(absolute, cell.number)
            code = compile(cell.python.source, name, "exec", flags=futures, dont_inherit=True)
            futures |= code.co_flags & _FUTURES
            exec(code, vars(world.module))

    outcome = run_in(world, execute, as_notebook_prints, patience)
    return replace(outcome, notices=_notices(given, cells))


def read_cells(path: str | os.PathLike[str]) -> list[Cell]:
    """The code cells of a notebook.

    Raises:
        OSError: The file cannot be read.
        UnreadableNotebook: It is not a notebook of format 4 with code cells in Python.
    """
    name = os.fspath(path)
    try:
        document = json.loads(Path(name).read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UnreadableNotebook(f"{name} is not a notebook: it is not UTF-8") from error
    except (json.JSONDecodeError, RecursionError) as error:
        detail = f" (line {error.lineno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise UnreadableNotebook(f"{name} is not a notebook: it is not JSON{detail}") from error
    if not isinstance(document, dict) or "nbformat" not in document:
        raise UnreadableNotebook(f"{name} is not a notebook: its JSON has no nbformat")
    if document["nbformat"] != 4:
        raise UnreadableNotebook(
            f"{name} has notebook format {document['nbformat']}, only 4 can be read: "
            f"jupyter nbconvert --to notebook --inplace {name}"
        )
    if (language := _language(document.get("metadata"))) not in (None, "python"):
        raise UnreadableNotebook(f"{name} is a notebook in {language}, not in Python")
    sources = [text for cell in _entries(document) if (text := _source(cell)) is not None]
    if not any(text.strip() for text in sources):
        raise UnreadableNotebook(f"{name} has no code cells")
    return [Cell(number, as_python(text)) for number, text in enumerate(sources, start=1)]


_FUTURES = 0
for _feature in __future__.all_feature_names:
    _FUTURES |= getattr(__future__, _feature).compiler_flag


def _language(metadata: object) -> str | None:
    """The kernel's language in lower case, None where the notebook does not say."""
    if isinstance(metadata, dict):
        for section, key in (("kernelspec", "language"), ("language_info", "name")):
            value = metadata[section].get(key) if isinstance(metadata.get(section), dict) else None
            if isinstance(value, str) and value:
                return value.lower()
    return None


def _entries(document: dict[str, Any]) -> list[Any]:
    cells = document.get("cells")
    return cells if isinstance(cells, list) else []


def _source(cell: object) -> str | None:
    """The text of a code cell, None for any other cell."""
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return None
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def _notices(name: str, cells: list[Cell]) -> tuple[str, ...]:
    missed = [f"cell {cell.number}, line {line}: {text}" for cell in cells for line, text in cell.python.left_out]
    return (f"{name}: these lines are not Python and were not run: {'; '.join(missed)}",) if missed else ()
