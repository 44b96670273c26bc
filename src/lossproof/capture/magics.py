"""Makes Python of a notebook's cell: what only IPython understands is replaced, line for line."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

_PYTHON_CELLS = frozenset({"capture", "debug", "memit", "prun", "pyinstrument", "scalene", "time", "timeit", "wandb"})
"""Cell magics that execute the cell as Python; the others hand it to another language, or write it to a file."""

_HARMLESS = frozenset({"autoreload", "config", "load_ext", "matplotlib", "reload_ext", "tensorboard", "time", "timeit"})
"""Line magics without which the rest of a notebook means the same."""

_TIME = re.compile(r"%time\s+(?=\S)")
_ENVIRONMENT = re.compile(r"%(?:set_)?env\s+(?P<name>\w+)(?:\s*=\s*|\s+)(?P<value>.*)")
_COMMAND = re.compile(r"%|!|(?:pip|conda|mamba|uv)\s+\w")  # IPython takes `pip install x` for `%pip install x`
_ASSIGNED = re.compile(r"(?P<target>[\w\s.,*()\[\]'\"]+)=\s*(?P<command>[!%].*)")
_PIECE = re.compile(r"\"\"\"|'''|[\"'#()\[\]{}]|\\$")


@dataclass(frozen=True)
class PythonCell:
    """A cell as Python: as many lines as it had, and the lines (from 1, with their text) that were left out."""

    source: str
    left_out: tuple[tuple[int, str], ...] = ()


def as_python(source: str) -> PythonCell:
    """Replace what only IPython understands by Python, without shifting a line.

    Line magics, shell lines and questions (`x?`) become `pass`, or an assignment of None or [] where their result is
    assigned; `%time statement` becomes the statement, and `%env NAME=value` sets the variable. `%%time`, `%%capture`
    and their like lose their first line; a cell in another language becomes empty. A cell that is Python is left
    alone, so that a line of a string or of an expression may well begin with `%`.
    """
    lines = source.split("\n")
    start = next((i for i, line in enumerate(lines) if line.strip()), 0)
    while lines[start].startswith("%%"):
        name = re.match(r"%%(\S*)", lines[start])
        if name is None or name[1] not in _PYTHON_CELLS:
            return PythonCell("\n" * (len(lines) - 1), ((start + 1, lines[start].strip()),))
        lines[start] = ""
        start = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if _is_python("\n".join(lines)):
        return PythonCell("\n".join(lines))
    margin = lines[start][: len(lines[start]) - len(lines[start].lstrip())]  # of a cell that is indented as a whole
    return _replace_lines([line.removeprefix(margin) for line in lines])


def _replace_lines(lines: list[str]) -> PythonCell:
    left_out: list[tuple[int, str]] = []
    code = _Code()
    waiting = list(enumerate(lines, start=1))[::-1]
    python: list[str] = []
    while waiting:
        number, line = waiting.pop()
        replacement = _replacement(line) if code.begins else None
        if replacement is None:
            code.read(line)
            python.append(line)
            continue
        code.read(replacement.python)
        python.append(replacement.python)
        if replacement.missed:
            left_out.append((number, line.strip()))
        while replacement.whole and line.endswith("\\") and waiting:
            _, line = waiting.pop()
            python.append("")
    return PythonCell("\n".join(python), tuple(left_out))


def _is_python(source: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):  # they come when it is compiled to run
            ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


@dataclass(frozen=True)
class _Replacement:
    python: str
    missed: bool
    """Whether the rest of the notebook may depend on what was left out."""
    whole: bool = True
    """Whether it stands for the lines that a backslash continues, too."""


def _replacement(line: str) -> _Replacement | None:
    """Python for a line that begins a statement; None if the line is Python, as far as can be seen."""
    text = line.strip()
    indent = line[: len(line) - len(line.lstrip())]
    if timed := _TIME.match(text):
        return _Replacement(indent + text[timed.end() :], missed=False, whole=False)
    if variable := _ENVIRONMENT.fullmatch(text):
        name, value = variable["name"], variable["value"]
        return _Replacement(f"{indent}__import__('os').environ[{name!r}] = {value!r}", missed=False)
    if text.startswith("?") or _code_of(text).endswith("?"):
        return _Replacement(indent + "pass", missed=False)
    if _COMMAND.match(text):
        magic = re.match(r"%(\w+)", text)
        return _Replacement(indent + "pass", missed=magic is None or magic[1] not in _HARMLESS)
    if assigned := _ASSIGNED.fullmatch(text):
        nothing = "[]" if assigned["command"].startswith("!") else "None"
        return _Replacement(f"{indent}{assigned['target']}= {nothing}", missed=True)
    return None


def _code_of(line: str) -> str:
    """A line without its comment."""
    code = _Code()
    end = next((at for at, piece in code.pieces(line) if piece == "#"), len(line))
    return line[:end].rstrip()


class _Code:
    """Reads Python line by line, as far as is needed to know where a statement begins."""

    def __init__(self) -> None:
        self._depth = 0
        self._quote: str | None = None
        self._continued = False

    @property
    def begins(self) -> bool:
        """Whether the next line begins a statement: it is in no string, no brackets and after no backslash."""
        return self._depth <= 0 and self._quote is None and not self._continued

    def read(self, line: str) -> None:
        """Take in the next line."""
        self._continued = False
        for _, piece in self.pieces(line):
            if piece == "#":
                break
            self._continued = piece == "\\"
        if self._quote is not None and len(self._quote) == 1 and not line.endswith("\\"):
            self._quote = None  # never closed: the cell will not compile, and its next line is a new statement

    def pieces(self, line: str) -> Iterator[tuple[int, str]]:
        """Brackets, the comment's `#` and the last backslash, with their columns, outside of strings."""
        at = 0
        while at < len(line):
            if self._quote is not None:
                end = re.compile(rf"(?:\\.|(?!{self._quote}).)*?{self._quote}").match(line, at)
                if end is None:
                    return
                at, self._quote = end.end(), None
                continue
            found = _PIECE.search(line, at)
            if found is None:
                return
            at, piece = found.end(), found[0]
            if piece[0] in "\"'":
                self._quote = piece
                continue
            self._depth += (piece in "([{") - (piece in ")]}")
            yield found.start(), piece
            if piece == "#":
                return
