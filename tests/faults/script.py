"""A healthy script as a syntax tree, and the places at which a fault can be seeded.

An edit is a function without arguments that changes the tree of its script. An operator gives the edits of one kind of
fault, always in the same order, so that "the k-th edit of this operator on this script" names one mutant.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

Edit = Callable[[], None]

ALL = ("tensorflow", "jax", "torch")


@dataclass(frozen=True)
class Subject:
    """A healthy script. What its first line says of the targets decides which faults make sense."""

    name: str
    source: str

    @property
    def targets(self) -> str:
        """The kind of targets and, where they are plain columns, how many: `real x 3`."""
        found = re.search(r"^# targets: (.+)$", self.source, re.MULTILINE)
        return found[1] if found else "other"

    @property
    def backends(self) -> tuple[str, ...]:
        """Where it runs."""
        found = re.search(r"^# backends: (.+)$", self.source, re.MULTILINE)
        return tuple(found[1].split(", ")) if found else ALL


class Script:
    """The tree of a subject, to be changed in place."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.tree = ast.parse(subject.source)

    @property
    def kind(self) -> str:
        """The kind of targets: `real`, `positive`, `counts`, `binary`, `signs`, `ids`, `one-hot`, `shares`, ..."""
        return self.subject.targets.split(" x ")[0]

    @property
    def columns(self) -> int:
        """Columns of the targets; 0 where they are no columns."""
        _, _, columns = self.subject.targets.partition(" x ")
        return int(columns or 0)

    @cached_property
    def functions(self) -> list[ast.FunctionDef]:
        """Every function and method."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)]

    @property
    def losses(self) -> list[ast.FunctionDef]:
        """The functions of targets and predictions."""
        return [one for one in self.functions if {"y_true", "y_pred"} <= {a.arg for a in one.args.args}]

    @property
    def own(self) -> list[ast.FunctionDef]:
        """The functions that make up the objective: losses, `compute_loss`, what a step differentiates."""
        steps = ("compute_loss", "objective", "train_step")
        return [*self.losses, *(one for one in self.functions if one.name in steps)]

    def calls(self, *names: str, within: ast.AST | None = None) -> list[ast.Call]:
        """Calls of what is named so, whatever it is an attribute of."""
        calls = [node for node in ast.walk(within or self.tree) if isinstance(node, ast.Call)]
        return [one for one in calls if called(one) in names]

    @property
    def fit(self) -> ast.Call | None:
        """The first call of `model.fit`."""
        return next(iter(self.calls("fit")), None)

    @property
    def compiled(self) -> ast.Call | None:
        """The call of `model.compile`."""
        return next(iter(self.calls("compile")), None)

    @property
    def target(self) -> ast.expr | None:
        """The targets as `fit` is given them."""
        return self.fit.args[1] if self.fit is not None and len(self.fit.args) > 1 else None

    def replace(self, old: ast.AST, new: ast.AST) -> None:
        """Put one node in the place of another."""
        for parent in ast.walk(self.tree):
            for name, value in ast.iter_fields(parent):
                if value is old:
                    setattr(parent, name, new)
                    return
                if isinstance(value, list) and any(item is old for item in value):
                    value[[item is old for item in value].index(True)] = new
                    return
        raise ValueError(f"not in this tree: {ast.unparse(old)}")

    def written(self) -> str:
        """The source as it is now."""
        return ast.unparse(ast.fix_missing_locations(self.tree)) + "\n"

    # Edits that many operators need ---------------------------------------------------------------------------------

    def replacing(self, old: ast.AST, code: str) -> Edit:
        """Put an expression in the place of a node; `{}` in it stands for what was there."""
        return lambda: self.replace(old, expression(code.format(f"({ast.unparse(old)})")))

    def putting(self, old: ast.AST, new: ast.AST) -> Edit:
        """Put one node in the place of another."""
        return lambda: self.replace(old, new)

    def beginning(self, function: ast.FunctionDef, code: str) -> Edit:
        """Put a statement at the beginning of a function."""
        return lambda: function.body.insert(0, ast.parse(code).body[0])

    def returning(self, function: ast.FunctionDef, code: str) -> Iterator[Edit]:
        """Change what a function returns; `{}` stands for it."""
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                yield self.replacing(node.value, code)


@dataclass(frozen=True)
class Operator:
    """One kind of fault."""

    name: str
    codes: tuple[str, ...]
    """The rules that may name it."""
    what: str
    """What it does, in a few words."""
    edits: Callable[[Script], Iterator[Edit]]
    backends: tuple[str, ...] = ALL
    """Where it is a fault."""
    needs: str = "differs"
    """What must be certified before it counts as a fault: see `certify.Difference`."""
    training: bool = False
    """Whether the fault exists only while a script trains, so that the script is run, not only its objective asked."""


@dataclass(frozen=True)
class Mutant:
    """A subject with one fault."""

    subject: str
    operator: str
    index: int
    source: str = field(repr=False)

    @property
    def name(self) -> str:
        """What the mutant is called in reports, and its file."""
        return f"{self.subject}-{self.operator}-{self.index}"


def mutants(subject: Subject, operators: Sequence[Operator], backend: str) -> Iterator[Mutant]:
    """Every mutant of a subject that may be a fault on a backend; those that are written alike come once."""
    seen = {Script(subject).written()}
    for operator in operators:
        if backend not in operator.backends or backend not in subject.backends:
            continue
        for index in range(len(list(operator.edits(Script(subject))))):
            script = Script(subject)
            list(operator.edits(script))[index]()
            source = script.written()
            if source not in seen:
                seen.add(source)
                yield Mutant(subject.name, operator.name, index, source)


# Expressions ------------------------------------------------------------------------------------------------------------


def expression(code: str) -> ast.expr:
    """The tree of an expression."""
    return ast.parse(code, mode="eval").body


def called(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    return getattr(call.func, "attr", None) or getattr(call.func, "id", None) or ""


def keyword(call: ast.Call, name: str) -> ast.keyword | None:
    """An argument given by name."""
    return next((one for one in call.keywords if one.arg == name), None)


def is_small(node: ast.AST) -> bool:
    """Whether a node is a small positive constant, as people add against zeros."""
    return isinstance(node, ast.Constant) and isinstance(node.value, float) and 0.0 < node.value <= 1e-3
