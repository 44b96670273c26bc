"""Which lines of a source text a function spans."""

from __future__ import annotations

import ast
import warnings
from functools import lru_cache

from lossproof.findings.finding import Place
from lossproof.lab.localize.sites import Text

_Definition = ast.FunctionDef | ast.AsyncFunctionDef


def lines_of(text: Text, place: Place) -> tuple[int, int]:
    """The first and the last line of the function that a place stands in, decorators left out.

    Of a lambda, the lines that it stands on; without a function, the line of the place.
    """
    last = place.line + (place.expression or "").count("\n")
    name = (place.scope or "").rpartition(".")[2]
    around = [span for found, *span in _definitions("".join(text.lines)) if found == name]
    holding = [(a, b) for a, b in around if a <= place.line and last <= b]
    return max(holding, default=(place.line, last))  # the innermost begins last


@lru_cache(maxsize=16)
def _definitions(source: str) -> tuple[tuple[str, int, int], ...]:
    try:
        with warnings.catch_warnings(action="ignore"):  # Python has told the user already
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # such as the magics of a notebook's cell
        return ()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, _Definition):
            found.append((node.name, node.lineno, node.end_lineno or node.lineno))
        elif isinstance(node, ast.Lambda):
            found.append(("<lambda>", node.lineno, node.end_lineno or node.lineno))
    return tuple(found)
